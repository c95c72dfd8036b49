using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Between the layouts of stored tensors (NCHW; tokens as (batch, position, channel)) and the library's channels-last one.
/// </summary>
internal static class Axes
{
    /// <summary>Axis i of the result is axis order[i] of the source.</summary>
    public static float[] Permute(float[] values, int[] shape, params int[] order)
    {
        var strides = new int[shape.Length];
        var stride = 1;
        for (var axis = shape.Length - 1; axis >= 0; axis--)
        {
            strides[axis] = stride;
            stride *= shape[axis];
        }

        var result = new float[values.Length];
        for (var i = 0; i < result.Length; i++)
        {
            var (rest, source) = (i, 0);
            for (var axis = order.Length - 1; axis >= 0; axis--)
            {
                (rest, var position) = Math.DivRem(rest, shape[order[axis]]);
                source += position * strides[order[axis]];
            }

            result[i] = values[source];
        }

        return result;
    }

    /// <summary>A stored tensor channels last: only pictures, with four axes, are stored otherwise.</summary>
    public static float[] ToChannelsLast(float[] values, int[] shape) => shape.Length == 4 ? Permute(values, shape, 0, 2, 3, 1) : values;

    /// <summary>(N, C, H, W), (N, tokens, C), (N, C) or (C).</summary>
    public static Shape ChannelsLastShape(int[] stored) => stored switch
    {
        [var n, var c, var h, var w] => new Shape(n, h, w, c),
        [var n, var tokens, var c] => new Shape(n, 1, tokens, c),
        [var n, var c] => new Shape(n, 1, 1, c),
        [var c] => new Shape(1, 1, 1, c),
        _ => throw new InvalidOperationException($"a tensor with {stored.Length} axes"),
    };
}
