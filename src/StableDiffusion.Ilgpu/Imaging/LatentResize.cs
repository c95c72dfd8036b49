namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// Enlarges planes (channels first), as PyTorch's <c>interpolate</c> does without <c>align_corners</c> and <c>antialias</c>.
/// </summary>
internal static class LatentResize
{
    /// <summary>Of each four pixels around a new one's centre, by their distance; edges are held.</summary>
    public static float[] Bilinear(ReadOnlySpan<float> planes, int height, int width, int newHeight, int newWidth)
    {
        var (rows, columns) = (Positions(height, newHeight), Positions(width, newWidth));
        var result = new float[planes.Length / (height * width) * newHeight * newWidth];
        var i = 0;
        for (var plane = 0; plane < planes.Length; plane += height * width)
        {
            foreach (var (top, bottom, down) in rows)
            {
                var upper = planes.Slice(plane + (top * width), width);
                var lower = planes.Slice(plane + (bottom * width), width);
                foreach (var (left, right, across) in columns)
                {
                    result[i++] = (float)(
                        ((1 - down) * (((1 - across) * upper[left]) + (across * upper[right])))
                        + (down * (((1 - across) * lower[left]) + (across * lower[right]))));
                }
            }
        }

        return result;
    }

    /// <summary>The pixel at floor(i * old / new).</summary>
    public static float[] Nearest(ReadOnlySpan<float> planes, int height, int width, int newHeight, int newWidth)
    {
        var result = new float[planes.Length / (height * width) * newHeight * newWidth];
        var i = 0;
        for (var plane = 0; plane < planes.Length; plane += height * width)
        {
            for (var y = 0; y < newHeight; y++)
            {
                var line = planes.Slice(plane + (y * height / newHeight * width), width);
                for (var x = 0; x < newWidth; x++)
                {
                    result[i++] = line[x * width / newWidth];
                }
            }
        }

        return result;
    }

    /// <summary>The two old positions that a new one lies between, and how far it is from the first.</summary>
    private static (int Before, int After, double Share)[] Positions(int size, int newSize) => [.. Enumerable.Range(0, newSize).Select(i =>
    {
        var position = Math.Max(0, ((i + 0.5) * size / newSize) - 0.5);
        var before = Math.Min((int)position, size - 1);
        return (before, Math.Min(before + 1, size - 1), position - before);
    })];
}
