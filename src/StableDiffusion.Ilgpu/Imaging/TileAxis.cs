namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>
/// One axis of an area that is computed in overlapping tiles of the same length, spread evenly. Where tiles overlap each counts with a
/// weight that falls linearly towards its end; the ends of the area itself have no ramp, and a circular axis has none.
/// </summary>
internal sealed class TileAxis
{
    private readonly bool circular;

    private TileAxis(int size, int length, int[] starts, bool circular) =>
        (Size, Length, Starts, this.circular) = (size, length, starts, circular);

    /// <summary>Of the whole area.</summary>
    public int Size { get; }

    /// <summary>Of a tile; on a circular axis it may be longer than the area, and meets itself.</summary>
    public int Length { get; }

    /// <summary>The first position of each tile.</summary>
    public IReadOnlyList<int> Starts { get; }

    /// <param name="size">Size of the area.</param>
    /// <param name="length">Length of a tile; less where the area is smaller.</param>
    /// <param name="overlap">The least that neighbours overlap, as a share of the length: 0 … 0.5.</param>
    /// <param name="circular">Position <paramref name="size"/> is position 0 again.</param>
    public static TileAxis Create(int size, int length, double overlap, bool circular)
    {
        var shared = (int)Math.Round(length * overlap);
        if (circular)
        {
            length = Math.Min(length, size + shared);
            var around = Math.Max(1, DivideUp(size, length - shared));
            return new TileAxis(size, length, [.. Enumerable.Range(0, around).Select(i => i * size / around)], circular);
        }

        if (size <= length)
        {
            return new TileAxis(size, size, [0], circular);
        }

        var count = DivideUp(size - shared, length - shared);
        return new TileAxis(size, length, [.. Enumerable.Range(0, count).Select(i => i * (size - length) / (count - 1))], circular);
    }

    /// <summary>Weights of a tile's positions, <paramref name="scale"/> for each of the axis.</summary>
    public float[] Weights(int tile, int scale)
    {
        // Of a circular axis the last tile comes before the first.
        var before = tile > 0 ? Starts[tile - 1] : circular ? Starts[^1] - Size : int.MinValue;
        var after = tile + 1 < Starts.Count ? Starts[tile + 1] : circular ? Starts[0] + Size : int.MaxValue;
        var rise = before == int.MinValue ? 0 : (before + Length - Starts[tile]) * scale;
        var fall = after == int.MaxValue ? 0 : (Starts[tile] + Length - after) * scale;
        var last = (Length * scale) - 1;
        return [.. Enumerable.Range(0, last + 1).Select(i => Math.Min(Ramp(i, rise), Ramp(last - i, fall)))];

        static float Ramp(int position, int length) => length <= 0 ? 1 : Math.Min(1, (position + 0.5f) / length);
    }

    /// <summary>The sum of all tiles' weights at each position of the area.</summary>
    public float[] TotalWeights(int scale)
    {
        var total = new float[Size * scale];
        for (var tile = 0; tile < Starts.Count; tile++)
        {
            var weights = Weights(tile, scale);
            for (var i = 0; i < weights.Length; i++)
            {
                total[((Starts[tile] * scale) + i) % total.Length] += weights[i];
            }
        }

        return total;
    }

    private static int DivideUp(int a, int b) => (a + b - 1) / b;
}
