using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu;

/// <summary>Pictures and latents are channels-first outside (noise, reference data) and channels-last on the device.</summary>
internal static class Layout
{
    /// <summary>(C, H, W) to (H, W, C) for each item.</summary>
    public static float[] ToChannelsLast(ReadOnlySpan<float> values, int channels, int pixels) => Transpose(values, channels, pixels);

    /// <summary>(H, W, C) to (C, H, W) for each item.</summary>
    public static float[] ToChannelsFirst(ReadOnlySpan<float> values, int channels, int pixels) => Transpose(values, pixels, channels);

    /// <summary>Items of rows x columns become items of columns x rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float[] Transpose(ReadOnlySpan<float> values, int rows, int columns)
    {
        var result = new float[values.Length];
        for (var item = 0; item < values.Length; item += rows * columns)
        {
            for (var r = 0; r < rows; r++)
            {
                for (var c = 0; c < columns; c++)
                {
                    result[item + (c * rows) + r] = values[item + (r * columns) + c];
                }
            }
        }

        return result;
    }
}
