namespace StableDiffusion.Ilgpu.Imaging;

/// <summary>Computes one area from another in overlapping tiles, row by row, and blends them. Areas are channels last.</summary>
internal sealed record TileGrid(TileAxis Rows, TileAxis Columns)
{
    /// <param name="source">The area to compute from.</param>
    /// <param name="sourceScale">Its pixels for each position of the grid, along each axis.</param>
    /// <param name="targetScale">The same of the result.</param>
    /// <param name="compute">Gives a tile of the result for a tile of the source.</param>
    public float[] Apply(ReadOnlySpan<float> source, int sourceScale, int targetScale, Func<float[], float[]> compute)
    {
        float[] result = [];
        var channels = 0;
        for (var row = 0; row < Rows.Starts.Count; row++)
        {
            for (var column = 0; column < Columns.Starts.Count; column++)
            {
                var tile = compute(Cut(source, sourceScale, row, column));
                if (result.Length == 0)
                {
                    channels = tile.Length / (Rows.Length * Columns.Length * targetScale * targetScale);
                    result = new float[Rows.Size * Columns.Size * targetScale * targetScale * channels];
                }

                Add(tile, result, targetScale, channels, row, column);
            }
        }

        Divide(result, targetScale, channels);
        return result;
    }

    private float[] Cut(ReadOnlySpan<float> source, int scale, int row, int column)
    {
        var (height, width) = (Rows.Size * scale, Columns.Size * scale);
        var channels = source.Length / (height * width);
        var tile = new float[Rows.Length * Columns.Length * scale * scale * channels];
        var target = 0;
        for (var y = 0; y < Rows.Length * scale; y++)
        {
            var line = ((Rows.Starts[row] * scale) + y) % height * width;
            for (var x = 0; x < Columns.Length * scale; x++)
            {
                var from = (line + (((Columns.Starts[column] * scale) + x) % width)) * channels;
                source.Slice(from, channels).CopyTo(tile.AsSpan(target));
                target += channels;
            }
        }

        return tile;
    }

    private void Add(float[] tile, float[] result, int scale, int channels, int row, int column)
    {
        var (height, width) = (Rows.Size * scale, Columns.Size * scale);
        var (rowWeights, columnWeights) = (Rows.Weights(row, scale), Columns.Weights(column, scale));
        var source = 0;
        for (var y = 0; y < rowWeights.Length; y++)
        {
            var line = ((Rows.Starts[row] * scale) + y) % height * width;
            for (var x = 0; x < columnWeights.Length; x++)
            {
                var to = (line + (((Columns.Starts[column] * scale) + x) % width)) * channels;
                var weight = rowWeights[y] * columnWeights[x];
                for (var c = 0; c < channels; c++)
                {
                    result[to + c] += weight * tile[source++];
                }
            }
        }
    }

    private void Divide(float[] result, int scale, int channels)
    {
        var (rowTotals, columnTotals) = (Rows.TotalWeights(scale), Columns.TotalWeights(scale));
        var i = 0;
        foreach (var rowTotal in rowTotals)
        {
            foreach (var columnTotal in columnTotals)
            {
                for (var c = 0; c < channels; c++)
                {
                    result[i++] /= rowTotal * columnTotal;
                }
            }
        }
    }
}
