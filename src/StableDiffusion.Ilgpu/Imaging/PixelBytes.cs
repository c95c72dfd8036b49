namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Values of -1 … 1 as bytes 0 … 255, rounded to the nearest: the same as the kernel <c>LatentKernels.ToBytes</c>.</summary>
internal static class PixelBytes
{
    public static byte[] Of(ReadOnlySpan<float> values)
    {
        var bytes = new byte[values.Length];
        for (var i = 0; i < bytes.Length; i++)
        {
            bytes[i] = (byte)((Math.Clamp((values[i] * 0.5f) + 0.5f, 0f, 1f) * 255f) + 0.5f);
        }

        return bytes;
    }
}
