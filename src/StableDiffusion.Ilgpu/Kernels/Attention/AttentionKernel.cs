using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// Attention without stored scores (the online softmax of Milakov and Gimelshein 2018, arXiv:1805.02867, tiled as by Dao et al. 2022,
/// arXiv:2205.14135), for devices whose groups have one work-item. Queries lie in the lanes of 32-wide rows, so that neither the maximum
/// nor the sum is ever taken across a register.
/// </summary>
internal static class AttentionKernel<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    /// <summary>A logit that no real one falls below: its weight is nothing beside any other's.</summary>
    private const float Lowest = -1e30f;

    public static void Run(AttentionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var leaf = default(TLeaf);
        var keys = Grid.IdxX * a.Scratch;
        var values = keys + a.KeyScratch;
        var scores = values + a.ValueScratch;
        var lanes = scores + (AttentionArguments<T>.BlockKeys * Tile.Columns);
        var lanePitch = (2 * a.LaneScratch) + AttentionArguments<T>.StateScratch;
        for (var tile = Atomic.Add(ref counter[0], 1); tile < a.Tiles; tile = Atomic.Add(ref counter[0], 1))
        {
            var firstQuery = tile % a.QueryTiles * AttentionArguments<T>.TileQueries;
            var head = tile / a.QueryTiles % a.Heads;
            var item = tile / a.QueryTiles / a.Heads;
            var queries = IntrinsicMath.Min(AttentionArguments<T>.TileQueries, a.Queries - firstQuery);
            for (var q = 0; q < queries; q += Tile.Columns)
            {
                LoadQueries(a, item, head, firstQuery + q, IntrinsicMath.Min(Tile.Columns, queries - q), scratch, lanes + (q / Tile.Columns * lanePitch), scores);
            }

            var visible = a.Causal != 0 ? IntrinsicMath.Min(a.Keys, firstQuery + queries) : a.Keys;
            for (var firstKey = 0; firstKey < visible; firstKey += AttentionArguments<T>.BlockKeys)
            {
                var count = IntrinsicMath.Min(AttentionArguments<T>.BlockKeys, visible - firstKey);
                WidenKeys(a, item, head, firstKey, count, scratch, keys, values);
                for (var q = 0; q < queries; q += Tile.Columns)
                {
                    var query = lanes + (q / Tile.Columns * lanePitch);
                    var output = query + a.LaneScratch;
                    var lastKey = a.Causal != 0 ? firstQuery + q - firstKey : count;
                    for (var part = 0; part < a.DepthParts; part++)
                    {
                        leaf.Multiply(
                            scratch, keys + (part * AttentionArguments<T>.BlockKeys * Tile.SourcePitch), scratch, query + (part * Tile.Depth * Tile.Columns),
                            scratch, scores, Tile.Columns, count, IntrinsicMath.Min(Tile.Depth, a.HeadSize - (part * Tile.Depth)), part);
                    }

                    leaf.Softmax(scratch, scores, count, scratch, output + a.LaneScratch, scratch, output, a.PaddedSize, lastKey);
                    leaf.MultiplyTransposed(scratch, values, a.PaddedSize, scratch, scores, scratch, output, a.PaddedSize, count);
                }
            }

            for (var q = 0; q < queries; q += Tile.Columns)
            {
                StoreOutput(a, item, head, firstQuery + q, IntrinsicMath.Min(Tile.Columns, queries - q), scratch, lanes + (q / Tile.Columns * lanePitch) + a.LaneScratch);
            }
        }
    }

    /// <summary>The scaled queries of one block of lanes, [HeadSize, 32], zero in lanes without a query; an empty output and state.</summary>
    private static void LoadQueries(
        AttentionArguments<T> a, int item, int head, int firstQuery, int count, ArrayView<float> scratch, int query, int row)
    {
        for (var lane = 0; lane < Tile.Columns; lane++)
        {
            if (lane < count)
            {
                var from = a.Query + ((long)((item * a.Queries) + firstQuery + lane) * a.QueryPitch) + (head * a.HeadSize);
                default(TLeaf).Widen(a.Arena, from, 0, scratch, row, 0, 1, a.HeadSize);
            }

            for (var i = 0; i < a.HeadSize; i++)
            {
                scratch[query + (i * Tile.Columns) + lane] = lane < count ? scratch[row + i] * a.Scale : 0f;
            }
        }

        var output = query + a.LaneScratch;
        for (var i = 0; i < a.LaneScratch; i++)
        {
            scratch[output + i] = 0;
        }

        var state = output + a.LaneScratch;
        for (var lane = 0; lane < Tile.Columns; lane++)
        {
            scratch[state + lane] = Lowest;
            scratch[state + Tile.Columns + lane] = 0;
        }
    }

    private static void WidenKeys(
        AttentionArguments<T> a, int item, int head, int firstKey, int count, ArrayView<float> scratch, int keys, int values)
    {
        var row = (long)(item * a.Keys) + firstKey;
        for (var part = 0; part < a.DepthParts; part++)
        {
            var channel = (head * a.HeadSize) + (part * Tile.Depth);
            default(TLeaf).Widen(
                a.Arena, a.Key + (row * a.KeyPitch) + channel, a.KeyPitch, scratch, keys + (part * AttentionArguments<T>.BlockKeys * Tile.SourcePitch),
                Tile.SourcePitch, count, IntrinsicMath.Min(Tile.Depth, a.HeadSize - (part * Tile.Depth)));
        }

        default(TLeaf).Widen(
            a.Arena, a.Value + (row * a.ValuePitch) + (head * a.HeadSize), a.ValuePitch, scratch, values, a.PaddedSize, count, a.HeadSize);
    }

    private static void StoreOutput(AttentionArguments<T> a, int item, int head, int firstQuery, int count, ArrayView<float> scratch, int output)
    {
        var sums = output + a.LaneScratch + Tile.Columns;
        for (var lane = 0; lane < count; lane++)
        {
            var to = a.Target + ((long)((item * a.Queries) + firstQuery + lane) * a.TargetPitch) + (head * a.HeadSize);
            var factor = 1f / scratch[sums + lane];
            for (var i = 0; i < a.HeadSize; i++)
            {
                default(TLeaf).Store(a.Arena, to + i, scratch[output + (i * Tile.Columns) + lane] * factor);
            }
        }
    }
}
