namespace StableDiffusion.Ilgpu;

/// <summary>
/// Which pictures share a call of the UNet. A picture does not depend on it: on the processor the same seed gives the same bits in any
/// batch.
/// </summary>
internal static class BatchPlan
{
    /// <summary>
    /// A processor is busy with one large picture already. Of small ones this many share the reading of the weights, up to as many pixels
    /// of
    /// latent as one picture of 512 x 512 has; more would only delay the first picture.
    /// </summary>
    private const int MostOnProcessor = 8;

    private const int MostPixelsOnProcessor = 64 * 64;

    /// <summary>
    /// Sixteen pictures of 512 x 512 give a GPU's largest tiles two thousand rows at the UNet's smallest level. With more, all would only wait
    /// longer for the first one.
    /// </summary>
    private const int MostPixelsOnGpu = 16 * 64 * 64;

    /// <summary>Kernels count rows and latents' values in 32 bits, for all pictures without the prompt and with it; so many are far from that, and more are no faster.</summary>
    private const int MostTogether = 1024;

    /// <summary>The same for pixels of all latents: two halves, of up to 16 channels.</summary>
    private const int MostPixels = int.MaxValue / 32;

    /// <summary>How many pictures to draw together.</summary>
    /// <param name="count">Pictures to draw.</param>
    /// <param name="limit">The most that the user allows; null for the device's own measure.</param>
    /// <param name="latentPixels">Pixels of one picture's latent.</param>
    /// <param name="isProcessor">Whether a processor computes.</param>
    /// <param name="budget">Bytes of memory that may be used.</param>
    /// <param name="measure">Bytes that a call with so many pictures needs.</param>
    public static int Choose(int count, int? limit, int latentPixels, bool isProcessor, long budget, Func<int, long> measure)
    {
        var most = isProcessor ? Math.Min(MostPixelsOnProcessor / latentPixels, MostOnProcessor) : MostPixelsOnGpu / latentPixels;
        var size = Math.Clamp(Math.Min(count, limit ?? most), 1, Math.Clamp(MostPixels / latentPixels, 1, MostTogether));
        while (size > 1 && measure(size) is var bytes && bytes > budget)
        {
            size = (int)Math.Clamp(size * (double)budget / bytes, 1, size - 1);
        }

        return size;
    }

    /// <summary>The first picture and the number of pictures of each batch.</summary>
    public static IEnumerable<(int First, int Count)> Split(int count, int size) =>
        Enumerable.Range(0, ((count - 1) / size) + 1).Select(i => (i * size, Math.Min(size, count - (i * size))));

    /// <summary>Halves a, b (without the prompt and with it) become a … a, b … b, each <paramref name="pictures"/> times.</summary>
    public static float[] Repeat(float[] context, int halves, int pictures)
    {
        var length = context.Length / halves;
        return pictures == 1 ? context
            : [.. Enumerable.Range(0, halves * pictures).SelectMany(i => context.AsSpan(i / pictures * length, length).ToArray())];
    }
}
