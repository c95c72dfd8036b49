namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Values of -1 … 1 and bytes 0 … 255.</summary>
internal static class PixelBytes
{
    /// <summary>Rounded to the nearest: the same as the kernel <c>LatentKernels.ToBytes</c>.</summary>
    public static byte[] Of(ReadOnlySpan<float> values)
    {
        var bytes = new byte[values.Length];
        for (var i = 0; i < bytes.Length; i++)
        {
            bytes[i] = (byte)((Math.Clamp((values[i] * 0.5f) + 0.5f, 0f, 1f) * 255f) + 0.5f);
        }

        return bytes;
    }

    public static float[] ToFloats(ReadOnlySpan<byte> bytes)
    {
        var values = new float[bytes.Length];
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = (bytes[i] / 127.5f) - 1;
        }

        return values;
    }
}
