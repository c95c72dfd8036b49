namespace StableDiffusion.Ilgpu.Weights;

/// <summary>
/// Bounds what a reader allocates for what it finds in a file: as many bytes as the file has, and <see cref="Constant"/>. With the
/// part of the file that the reader holds as bytes, that is at most twice the file's length and the constant. Readers take an
/// estimate from above for each object before they make it.
/// </summary>
/// <param name="path">What messages call the file.</param>
/// <param name="fileLength">The file's length in bytes.</param>
internal sealed class AllocationBudget(string path, long fileLength)
{
    /// <summary>
    /// Enough for the bookkeeping of more than ten thousand tensors in a file that is small because they are, and for megabytes of
    /// metadata in one.
    /// </summary>
    public const long Constant = 16 << 20;

    private long left = fileLength + Constant;

    /// <exception cref="StableDiffusionException">The file has used up its budget.</exception>
    public void Take(long bytes)
    {
        left -= bytes;
        if (left < 0)
        {
            throw new StableDiffusionException(
                $"{path}: describes more objects than a file of {fileLength} bytes needs; it is damaged, or made to fill the memory");
        }
    }
}
