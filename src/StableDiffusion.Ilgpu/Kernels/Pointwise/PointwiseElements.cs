using System.Runtime.CompilerServices;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>One element of each pointwise operation: what all devices compute, however they share elements out.</summary>
internal static class PointwiseElements<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IFormat<T>
{
    /// <summary>target = activation(source): with no activation, a copy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Activate(PointwiseArguments<T> a, long row, int column)
    {
        var value = default(TFormat).Load(a.Arena, a.Source + (row * a.SourcePitch) + column);
        Store(a, row, column, Activations<PreciseFunctions>.Of(value, a.Activation));
    }

    /// <summary>target = Factor * source + Offset.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Affine(PointwiseArguments<T> a, long row, int column)
    {
        var value = default(TFormat).Load(a.Arena, a.Source + (row * a.SourcePitch) + column);
        Store(a, row, column, (a.Factor * value) + a.Offset);
    }

    /// <summary>target = source + other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Add(PointwiseArguments<T> a, long row, int column)
    {
        var other = default(TFormat).Load(a.Arena, a.Other + (row / a.RowsPerOther * a.OtherPitch) + column);
        Store(a, row, column, default(TFormat).Load(a.Arena, a.Source + (row * a.SourcePitch) + column) + other);
    }

    /// <summary>target = h * gelu(g) for source rows [h | g].</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Geglu(PointwiseArguments<T> a, long row, int column)
    {
        var source = a.Source + (row * a.SourcePitch) + column;
        var gate = default(Activations<PreciseFunctions>.Gelu).Of(default(TFormat).Load(a.Arena, source + a.Columns));
        Store(a, row, column, default(TFormat).Load(a.Arena, source) * gate);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Resize(PointwiseArguments<T> a, long row, int column) =>
        a.Arena[a.Target + (row * a.TargetPitch) + column] = a.Arena[a.Source + (a.SourceRow(row) * a.SourcePitch) + column];

    /// <summary>target row r = token row of id r + position row r mod Length.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TokenEmbedding(EmbeddingArguments<T> a, int row, int column)
    {
        var token = default(TFormat).Load(a.Tokens, ((long)a.Ids[row] * a.Columns) + column);
        var position = default(TFormat).Load(a.Positions, (row % a.Length * a.Columns) + column);
        default(TFormat).Store(a.Arena, a.Target + ((long)row * a.TargetPitch) + column, token + position);
    }

    /// <summary>target row r = cosines and sines of timestep r times each frequency: here those of one frequency.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void TimestepEmbedding(EmbeddingArguments<T> a, int row, int frequency)
    {
        var half = a.Columns / 2;
        var target = a.Target + ((long)row * a.TargetPitch) + frequency;
        var angle = a.Timesteps[row] * a.Frequencies[frequency];
        default(TFormat).Store(a.Arena, target + (a.CosineFirst != 0 ? 0 : half), PointwiseMath.Cos(angle));
        default(TFormat).Store(a.Arena, target + (a.CosineFirst != 0 ? half : 0), PointwiseMath.Sin(angle));
    }

    private static void Store(PointwiseArguments<T> a, long row, int column, float value) =>
        default(TFormat).Store(a.Arena, a.Target + (row * a.TargetPitch) + column, value);
}
