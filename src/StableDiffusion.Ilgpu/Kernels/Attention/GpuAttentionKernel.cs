using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// Attention without stored scores (Dao et al. 2022, arXiv:2205.14135) for devices whose groups have many work-items. One group computes 64
/// queries of one head, and of the head's columns up to 48 or 80: where there are more, several groups compute the same scores. The fewer columns, the more
/// groups a device has room for.
/// For each block of 32 keys, first every work-item has 8 queries by 4 keys of the scores in registers; then each takes
/// one query's softmax; then each adds to its 4 queries by up to 20 columns of the output, also in registers.
/// </summary>
internal static class GpuAttentionKernel<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    private const int WorkItems = GpuAttentionTile<T, TFormat>.WorkItems;

    /// <summary>Queries of a group: one a work-item in the softmax.</summary>
    private const int BlockQueries = WorkItems;

    private const int BlockKeys = GpuAttentionTile<T, TFormat>.BlockKeys;

    /// <summary>Channels that are multiplied at a time; also the output's columns that four work-items hold together.</summary>
    private const int Depth = GpuAttentionTile<T, TFormat>.Depth;

    /// <summary>Blocks of so many columns that a group has sums for.</summary>
    private const int NarrowBlocks = 3;

    private const int WideBlocks = 5;

    private const int Unrolled = GpuAttentionTile<T, TFormat>.Unrolled;

    private const int QueryPitch = BlockQueries + 4;
    private const int KeyPitch = BlockKeys + 4;

    /// <summary>Rows that the work-items read at a time, sixteen each.</summary>
    private const int Step = WorkItems / Depth;

    /// <summary>A logit that no real one falls below: its weight is nothing beside any other's.</summary>
    private const float Lowest = -1e30f;

    /// <summary>The largest head that <see cref="RunNarrow"/> computes.</summary>
    public const int NarrowColumns = NarrowBlocks * Depth;

    /// <summary>For <see cref="RunNarrow"/>.</summary>
    public static KernelConfig NarrowShape(AttentionArguments<T> a) => Shape(a, NarrowColumns);

    /// <summary>For <see cref="RunWide"/>.</summary>
    public static KernelConfig WideShape(AttentionArguments<T> a) => Shape(a, WideBlocks * Depth);

    /// <summary>Heads of up to <see cref="NarrowColumns"/> columns.</summary>
    public static void RunNarrow(AttentionArguments<T> a)
    {
        var staged = SharedMemory.Allocate<Float4>(Depth * (QueryPitch + KeyPitch) / 4);
        var scores = SharedMemory.Allocate<Float4>(BlockKeys * QueryPitch / 4);
        var factors = SharedMemory.Allocate<Float4>(BlockQueries / 4);
        Compute(a, NarrowBlocks, staged, scores, factors);
    }

    /// <summary>Heads of any size.</summary>
    public static void RunWide(AttentionArguments<T> a)
    {
        var staged = SharedMemory.Allocate<Float4>(BlockKeys * WideBlocks * Depth / 4);
        var scores = SharedMemory.Allocate<Float4>(BlockKeys * QueryPitch / 4);
        var factors = SharedMemory.Allocate<Float4>(BlockQueries / 4);
        Compute(a, WideBlocks, staged, scores, factors);
    }

    /// <summary>One group for each item, head, block of queries and part of the head's columns.</summary>
    private static KernelConfig Shape(AttentionArguments<T> a, int mostColumns) =>
        new(a.Items * a.Heads * QueryBlocks(a) * Parts(a, mostColumns), WorkItems);

    /// <param name="a">The attention.</param>
    /// <param name="blocks">The most blocks of columns; a constant, so that what lies beyond is left out.</param>
    /// <param name="staged">Queries and keys of some channels, then the values in their place.</param>
    /// <param name="scores">[key, query].</param>
    /// <param name="factors">One a query.</param>
    private static void Compute(AttentionArguments<T> a, int blocks, ArrayView<Float4> staged, ArrayView<Float4> scores, ArrayView<Float4> factors)
    {
        var mostColumns = blocks * Depth;
        var tile = Grid.IdxX / Parts(a, mostColumns);
        var firstColumn = Grid.IdxX % Parts(a, mostColumns) * mostColumns;
        var firstQuery = tile % QueryBlocks(a) * BlockQueries;
        var head = tile / QueryBlocks(a) % a.Heads;
        var item = tile / QueryBlocks(a) / a.Heads;
        var queries = IntrinsicMath.Min(BlockQueries, a.Queries - firstQuery);
        var columns = IntrinsicMath.Min(mostColumns, a.HeadSize - firstColumn);
        var visible = a.Causal != 0 ? IntrinsicMath.Min(a.Keys, firstQuery + queries) : a.Keys;
        var maximum = Lowest;
        var sum = 0f;
        Float4x4 output0 = default, output1 = default, output2 = default, output3 = default, output4 = default;
        for (var firstKey = 0; firstKey < visible; firstKey += BlockKeys)
        {
            var keys = IntrinsicMath.Min(BlockKeys, visible - firstKey);
            Score(a, item, head, firstQuery, queries, firstKey, keys, staged, scores);
            Group.Barrier();
            GpuAttentionTile<T, TFormat>.LoadValues(a, item, head, firstColumn, columns, firstKey, keys, staged, mostColumns);
            var last = a.Causal != 0 ? IntrinsicMath.Min(keys, firstQuery + Group.IdxX - firstKey + 1) : keys;
            var before = maximum;
            maximum = Maximum(scores.Cast<float>(), last, before);
            var rescale = default(TFormat).Exp2(before - maximum);
            sum = (sum * rescale) + Weigh(scores.Cast<float>(), keys, last, maximum);
            factors.Cast<float>()[Group.IdxX] = rescale;
            Group.Barrier();
            var factor = factors[Group.IdxX / 4];
            output0 = Float4x4.Multiply(output0, factor);
            output1 = Float4x4.Multiply(output1, factor);
            output2 = Float4x4.Multiply(output2, factor);
            if (blocks > NarrowBlocks)
            {
                output3 = Float4x4.Multiply(output3, factor);
                output4 = Float4x4.Multiply(output4, factor);
            }

            for (var key = 0; key < keys; key += Unrolled)
            {
                var by = (key * (QueryPitch / 4)) + (Group.IdxX / 4);
                var (weights0, weights1) = (scores[by], scores[by + (QueryPitch / 4)]);
                var value = (key * (mostColumns / 4)) + (Group.IdxX % 4);
                output0 = AddPair(output0, weights0, weights1, staged, value, mostColumns);
                if (columns > Depth)
                {
                    output1 = AddPair(output1, weights0, weights1, staged, value + 4, mostColumns);
                }

                if (columns > 2 * Depth)
                {
                    output2 = AddPair(output2, weights0, weights1, staged, value + 8, mostColumns);
                }

                if (blocks > 3 && columns > 3 * Depth)
                {
                    output3 = AddPair(output3, weights0, weights1, staged, value + 12, mostColumns);
                }

                if (blocks > 4 && columns > 4 * Depth)
                {
                    output4 = AddPair(output4, weights0, weights1, staged, value + 16, mostColumns);
                }
            }

            Group.Barrier();
        }

        factors.Cast<float>()[Group.IdxX] = 1f / sum;
        for (var block = 0; block * Depth < columns; block++)
        {
            Group.Barrier();
            var output = output0;
            if (block > 0)
            {
                output = block == 1 ? output1 : output2;
            }

            if (blocks > NarrowBlocks && block > 2)
            {
                output = block == 3 ? output3 : output4;
            }

            output = Float4x4.Multiply(output, factors[Group.IdxX / 4]);
            var at = (Group.IdxX / 4 * Depth) + (Group.IdxX % 4);
            staged[at] = output.Row0;
            staged[at + 4] = output.Row1;
            staged[at + 8] = output.Row2;
            staged[at + 12] = output.Row3;
            Group.Barrier();
            Store(a, item, head, firstQuery, queries, firstColumn + (block * Depth), staged.Cast<float>());
        }
    }

    /// <summary>The output after two more keys, whose values lie one row apart.</summary>
    private static Float4x4 AddPair(Float4x4 output, Float4 weights0, Float4 weights1, ArrayView<Float4> values, int index, int mostColumns)
    {
        output = Float4x4.MultiplyAdd(output, weights0, values[index]);
        return Float4x4.MultiplyAdd(output, weights1, values[index + (mostColumns / 4)]);
    }

    private static int QueryBlocks(AttentionArguments<T> a) => (a.Queries + BlockQueries - 1) / BlockQueries;

    private static int Parts(AttentionArguments<T> a, int mostColumns) => (a.HeadSize + mostColumns - 1) / mostColumns;

    /// <summary>Base-2 logits of all queries and some keys: [key, query].</summary>
    private static void Score(
        AttentionArguments<T> a, int item, int head, int firstQuery, int queries, int firstKey, int keys, ArrayView<Float4> staged, ArrayView<Float4> scores)
    {
        const int KeysAt = Depth * QueryPitch;
        var query = a.Query + ((((long)item * a.Queries) + firstQuery) * a.QueryPitch) + (head * a.HeadSize);
        var key = a.Key + ((((long)item * a.Keys) + firstKey) * a.KeyPitch) + (head * a.HeadSize);
        var (queryBlock, keyBlock) = (Group.IdxX / 8, Group.IdxX % 8);
        Float4x8 sums = default;
        for (var channel = 0; channel < a.HeadSize; channel += Depth)
        {
            var count = IntrinsicMath.Min(Depth, a.HeadSize - channel);
            Group.Barrier();
            GpuAttentionTile<T, TFormat>.LoadTurned(
                a, query + channel, queries, QueryPitch, key + channel, keys, KeyPitch, count, staged.Cast<float>(), KeysAt);
            Group.Barrier();
            for (var k = 0; k < count; k += Unrolled)
            {
                var by = (k * (QueryPitch / 4)) + (queryBlock * 2);
                var from = ((KeysAt + (k * KeyPitch)) / 4) + keyBlock;
                sums = Float4x8.MultiplyAdd(sums, staged[from], LoadPair(staged, by));
                sums = Float4x8.MultiplyAdd(sums, staged[from + (KeyPitch / 4)], LoadPair(staged, by + (QueryPitch / 4)));
            }
        }

        var at = (keyBlock * QueryPitch) + (queryBlock * 2);
        (scores[at], scores[at + 1]) = (sums.Row0.Low, sums.Row0.High);
        (scores[at + (QueryPitch / 4)], scores[at + (QueryPitch / 4) + 1]) = (sums.Row1.Low, sums.Row1.High);
        (scores[at + (QueryPitch / 2)], scores[at + (QueryPitch / 2) + 1]) = (sums.Row2.Low, sums.Row2.High);
        (scores[at + (QueryPitch / 4 * 3)], scores[at + (QueryPitch / 4 * 3) + 1]) = (sums.Row3.Low, sums.Row3.High);
    }

    private static Float8 LoadPair(ArrayView<Float4> vectors, int index) => new() { Low = vectors[index], High = vectors[index + 1] };

    private static float Maximum(ArrayView<float> scores, int keys, float maximum)
    {
        for (var key = 0; key < keys; key++)
        {
            maximum = IntrinsicMath.Max(maximum, scores[(key * QueryPitch) + Group.IdxX]);
        }

        return maximum;
    }

    /// <summary>Logits become weights, 0 from key <paramref name="last"/> on and in those that fill up the last few.</summary>
    /// <returns>Their sum.</returns>
    private static float Weigh(ArrayView<float> scores, int keys, int last, float maximum)
    {
        var sum = 0f;
        for (var key = 0; key < Tile.RoundUp(keys, Unrolled); key++)
        {
            var at = (key * QueryPitch) + Group.IdxX;
            var weight = key < last ? default(TFormat).Exp2(scores[at] - maximum) : 0f;
            scores[at] = weight;
            sum += weight;
        }

        return sum;
    }

    /// <summary>Sixteen columns of the output, [query, column].</summary>
    private static void Store(AttentionArguments<T> a, int item, int head, int firstQuery, int queries, int firstColumn, ArrayView<float> output)
    {
        var column = firstColumn + (Group.IdxX % Depth);
        var target = a.Target + ((((long)item * a.Queries) + firstQuery) * a.TargetPitch) + (head * a.HeadSize) + column;
        if (column < a.HeadSize)
        {
            for (var query = Group.IdxX / Depth; query < queries; query += Step)
            {
                default(TFormat).Store(a.Arena, target + ((long)query * a.TargetPitch), output[(query * Depth) + (Group.IdxX % Depth)]);
            }
        }
    }
}
