using System.Runtime.CompilerServices;
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(AttentionArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var leaf = default(TLeaf);
        var keys = Grid.IdxX * a.Scratch;
        var values = keys + a.KeyScratch;
        var scores = values + a.ValueScratch;
        var unit = scores + (AttentionArguments<T>.BlockKeys * Tile.Columns);
        var lanes = unit + AttentionArguments<T>.UnitScratch;
        var lanePitch = (2 * a.LaneScratch) + AttentionArguments<T>.StateScratch;
        PrepareUnits(a, scratch, unit);
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            var firstQuery = tile % a.QueryTiles * a.TileQueries;
            var head = tile / a.QueryTiles % a.Heads;
            var item = tile / a.QueryTiles / a.Heads;
            var queries = IntrinsicMath.Min(a.TileQueries, a.Queries - firstQuery);
            for (var q = 0; q < queries; q += Tile.Columns)
            {
                LoadQueries(a, item, head, firstQuery + q, IntrinsicMath.Min(Tile.Columns, queries - q), scratch, lanes + (q / Tile.Columns * lanePitch), keys, unit);
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
                            scratch, keys + (part * AttentionArguments<T>.BlockKeys * Tile.SourcePitch), Tile.SourcePitch,
                            scratch, query + (part * Tile.Depth * Tile.Columns), Tile.Columns, scratch, scores, Tile.Columns,
                            count, IntrinsicMath.Min(Tile.Depth, a.HeadSize - (part * Tile.Depth)), part);
                    }

                    leaf.Softmax(scratch, scores, count, scratch, output + a.LaneScratch, scratch, output, a.PaddedSize, lastKey);
                    leaf.MultiplyTransposed(scratch, values, a.PaddedSize, scratch, scores, scratch, output, a.PaddedSize, count);
                }
            }

            for (var q = 0; q < queries; q += Tile.Columns)
            {
                StoreOutput(a, item, head, firstQuery + q, IntrinsicMath.Min(Tile.Columns, queries - q), scratch, lanes + (q / Tile.Columns * lanePitch) + a.LaneScratch, scores, unit);
            }
        }
    }

    /// <summary>
    /// Rows become columns by multiplication with a unit matrix, which the leaves do faster than any loop moves single values: one
    /// matrix holds the logits' scale, the next one 1; a row of zeros follows.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PrepareUnits(AttentionArguments<T> a, ArrayView<float> scratch, int unit)
    {
        default(TLeaf).Clear(scratch, unit, 0, 1, AttentionArguments<T>.UnitScratch);
        for (var i = 0; i < Tile.Columns; i++)
        {
            scratch[unit + (i * Tile.Columns) + i] = a.Scale;
            scratch[unit + ((Tile.Columns + i) * Tile.Columns) + i] = 1f;
        }
    }

    /// <summary>The scaled queries of one block of lanes, [HeadSize, 32], zero in lanes without a query; an empty output and state.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void LoadQueries(
        AttentionArguments<T> a, int item, int head, int firstQuery, int count, ArrayView<float> scratch, int query, int rows, int unit)
    {
        var from = a.Query + ((long)((item * a.Queries) + firstQuery) * a.QueryPitch) + (head * a.HeadSize);
        default(TLeaf).Widen(a.Arena, from, a.QueryPitch, scratch, rows, a.PaddedSize, count, a.HeadSize);
        default(TLeaf).Clear(scratch, query, 0, 1, 2 * a.LaneScratch);
        default(TLeaf).MultiplyTransposed(scratch, rows, a.PaddedSize, scratch, unit, scratch, query, a.HeadSize, count);
        var state = query + (2 * a.LaneScratch);
        for (var lane = 0; lane < Tile.Columns; lane++)
        {
            scratch[state + lane] = Lowest;
            scratch[state + Tile.Columns + lane] = 0;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void StoreOutput(
        AttentionArguments<T> a, int item, int head, int firstQuery, int count, ArrayView<float> scratch, int output, int rows, int unit)
    {
        default(TLeaf).DivideBySum(scratch, output + a.LaneScratch, scratch, output, a.HeadSize);
        var to = a.Target + ((long)((item * a.Queries) + firstQuery) * a.TargetPitch) + (head * a.HeadSize);
        for (var i = 0; i < a.HeadSize; i += Tile.Columns)
        {
            var columns = IntrinsicMath.Min(Tile.Columns, a.HeadSize - i);
            default(TLeaf).Clear(scratch, rows, 0, 1, Tile.Columns * Tile.Columns);
            default(TLeaf).MultiplyTransposed(
                scratch, output + (i * Tile.Columns), Tile.Columns, scratch, unit + (Tile.Columns * Tile.Columns), scratch, rows, count, columns);
            for (var lane = 0; lane < count; lane++)
            {
                var at = to + ((long)lane * a.TargetPitch) + i;
                default(TLeaf).Finish(
                    default, scratch, rows + (lane * Tile.Columns), scratch, unit + (2 * Tile.Columns * Tile.Columns), a.Arena, at, a.Arena, at, a.Arena, at, columns);
            }
        }
    }
}
