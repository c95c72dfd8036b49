using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// Attention without stored scores (Dao et al. 2022, arXiv:2205.14135) on matrix units of OpenCL devices. One group computes 64 queries of one head, and of the
/// head's columns as many as its output has: where there are more, several groups compute the same scores. For each block of 32 keys, its
/// sub-groups multiply queries by keys; then each work-item takes one query's softmax; then the sub-groups multiply its weights, in fp16, by the values.
/// </summary>
internal static class MatrixAttentionKernel<TUnit, TOutput>
    where TUnit : struct, IMatrixUnit
    where TOutput : struct, IMatrixTile
{
    private const int Queries = 64;

    private const int Keys = 32;

    private const int WorkItems = 64;

    /// <summary>A logit that no real one falls below: its weight is nothing beside any other's.</summary>
    private const float Lowest = -1e30f;

    private const int StepInts = 8;

    private const int KeyChunks = Keys / Float8.Length;

    private const int ScoresPitch = Keys + 1;

    /// <summary>A head's columns that a group has, which are also the channels that are multiplied before others take their place.</summary>
    private static int Columns => default(TOutput).Columns;

    private static int Chunks => Columns / Float8.Length;

    /// <summary>Where in shared memory what lies, in chunks. Queries come first, and after the last key the output in the place of the first three.</summary>
    private static int KeysAt => Queries * Chunks;

    private static int ValuesAt => KeysAt + (Keys * Chunks);

    private static int WeightsAt => ValuesAt + (Keys * Chunks);

    private static int ScoresAt => WeightsAt + (Queries * KeyChunks);

    private static int FactorsAt => ScoresAt + (Queries * ScoresPitch / 4);

    private static int SharedChunks => FactorsAt + (Queries / 4);

    /// <summary>One group for each item, head, block of queries and part of the head's columns.</summary>
    public static KernelConfig Shape(AttentionArguments<ushort> a) => new(a.Items * a.Heads * QueryBlocks(a) * Parts(a), WorkItems);

    public static void Run(AttentionArguments<ushort> a)
    {
        var shared = SharedMemory.Allocate<HalfChunk>(SharedChunks);
        var ints = shared.Cast<int>();
        var floats = shared.Cast<float>();
        var tile = Grid.IdxX / Parts(a);
        var firstColumn = Grid.IdxX % Parts(a) * Columns;
        var firstQuery = tile % QueryBlocks(a) * Queries;
        var head = tile / QueryBlocks(a) % a.Heads;
        var item = tile / QueryBlocks(a) / a.Heads;
        var queries = IntrinsicMath.Min(Queries, a.Queries - firstQuery);
        var columns = IntrinsicMath.Min(Columns, a.HeadSize - firstColumn);
        var visible = a.Causal != 0 ? IntrinsicMath.Min(a.Keys, firstQuery + queries) : a.Keys;
        var maximum = Lowest;
        var sum = 0f;
        ClMatrix<TUnit>.Declare(WorkItems);
        ClMatrix<TUnit, TOutput>.Begin();
        for (var firstKey = 0; firstKey < visible; firstKey += Keys)
        {
            var keys = IntrinsicMath.Min(Keys, visible - firstKey);
            ClMatrix<TUnit, ScoresTile>.Begin();
            for (var channel = 0; channel < a.HeadSize; channel += Columns)
            {
                var count = IntrinsicMath.Min(Columns, a.HeadSize - channel);
                Group.Barrier();
                if (firstKey == 0 || a.HeadSize > Columns)
                {
                    LoadQueries(a, Query(a, item, head, firstQuery) + (channel / Float8.Length), queries, count / Float8.Length, shared);
                }

                LoadKeys(a, Key(a, item, head, firstKey) + (channel / Float8.Length), keys, count / Float8.Length, shared.SubView(KeysAt));
                if (channel == 0)
                {
                    LoadValues(a, Value(a, item, head, firstKey) + (firstColumn / Float8.Length), keys, columns / Float8.Length, shared.SubView(ValuesAt));
                }

                Group.Barrier();
                for (var step = 0; step * 2 * StepInts < count; step++)
                {
                    ClMatrix<TUnit, ScoresTile>.MultiplyAdd(ref ints[step * Queries * StepInts], ref ints[(KeysAt * 4) + (step * Keys * StepInts)]);
                }
            }

            ClMatrix<TUnit, ScoresTile>.Store(ref floats[ScoresAt * 4]);
            Group.Barrier();
            var last = a.Causal != 0 ? IntrinsicMath.Min(keys, firstQuery + Group.IdxX - firstKey + 1) : keys;
            var before = maximum;
            maximum = Maximum(floats, last, a.Scale, before);
            var rescale = default(GpuHalfFormat<ClHalfConversion>).Exp2(before - maximum);
            sum = (sum * rescale) + Weigh(floats, last, a.Scale, maximum, shared.SubView(WeightsAt));
            floats[(FactorsAt * 4) + Group.IdxX] = rescale;
            Group.Barrier();
            ClMatrix<TUnit, TOutput>.Scale(ref floats[FactorsAt * 4]);
            ClMatrix<TUnit, TOutput>.MultiplyAdd(ref ints[WeightsAt * 4], ref ints[ValuesAt * 4]);
            ClMatrix<TUnit, TOutput>.MultiplyAdd(ref ints[(WeightsAt * 4) + (Queries * StepInts)], ref ints[(ValuesAt * 4) + (Columns * StepInts)]);
        }

        Group.Barrier();
        floats[(FactorsAt * 4) + Group.IdxX] = 1f / sum;
        Group.Barrier();
        ClMatrix<TUnit, TOutput>.Scale(ref floats[FactorsAt * 4]);
        ClMatrix<TUnit, TOutput>.Store(ref floats[0]);
        Group.Barrier();
        Store(a, Target(a, item, head, firstQuery) + (firstColumn / Float8.Length), queries, columns / Float8.Length, shared.Cast<Float4>());
    }

    private static int QueryBlocks(AttentionArguments<ushort> a) => (a.Queries + Queries - 1) / Queries;

    private static int Parts(AttentionArguments<ushort> a) => (a.HeadSize + Columns - 1) / Columns;

    /// <summary>Where a group's first query begins in the arena, in chunks; likewise the others.</summary>
    private static int Query(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Query, a.QueryPitch, (item * a.Queries) + row, head, a.HeadSize);

    private static int Key(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Key, a.KeyPitch, (item * a.Keys) + row, head, a.HeadSize);

    private static int Value(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Value, a.ValuePitch, (item * a.Keys) + row, head, a.HeadSize);

    private static int Target(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Target, a.TargetPitch, (item * a.Queries) + row, head, a.HeadSize);

    private static int First(long tensor, int pitch, int row, int head, int headSize) =>
        (int)(tensor / Float8.Length) + (row * (pitch / Float8.Length)) + (head * (headSize / Float8.Length));

    /// <summary>Zeros beyond the last channel; beyond the last query that one is there again, whose output nobody stores.</summary>
    private static void LoadQueries(AttentionArguments<ushort> a, int from, int queries, int count, ArrayView<HalfChunk> target)
    {
        for (var i = Group.IdxX; i < Queries * Chunks; i += WorkItems)
        {
            var (row, chunk) = (i / Chunks, i % Chunks);
            var values = Read(a, from, a.QueryPitch, IntrinsicMath.Min(row, queries - 1), IntrinsicMath.Min(chunk, count - 1));
            MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(values, chunk < count ? -1 : 0), target, Queries, row, chunk);
        }
    }

    /// <summary>Channels beyond the last are that one again, which zeros multiply; keys likewise, whose scores nobody asks for.</summary>
    private static void LoadKeys(AttentionArguments<ushort> a, int from, int keys, int count, ArrayView<HalfChunk> target)
    {
        for (var i = Group.IdxX; i < Keys * Chunks; i += WorkItems)
        {
            var (row, chunk) = (i / Chunks, i % Chunks);
            var values = Read(a, from, a.KeyPitch, IntrinsicMath.Min(row, keys - 1), IntrinsicMath.Min(chunk, count - 1));
            MatrixFragments<TUnit>.StoreColumnChunk(values, target, Keys, row, chunk);
        }
    }

    /// <summary>Values beyond the last are that one again, whose weight is zero; columns likewise, which nobody stores.</summary>
    private static void LoadValues(AttentionArguments<ushort> a, int from, int keys, int count, ArrayView<HalfChunk> target)
    {
        for (var i = Group.IdxX; i < Keys / 2 * Chunks; i += WorkItems)
        {
            var (pair, chunk) = (i / Chunks, i % Chunks);
            var column = IntrinsicMath.Min(chunk, count - 1);
            var first = Read(a, from, a.ValuePitch, IntrinsicMath.Min(2 * pair, keys - 1), column);
            var second = Read(a, from, a.ValuePitch, IntrinsicMath.Min((2 * pair) + 1, keys - 1), column);
            MatrixFragments<TUnit>.StorePairs(first, second, target, Columns, chunk * Float8.Length, pair);
        }
    }

    private static HalfChunk Read(AttentionArguments<ushort> a, int from, int pitch, int row, int chunk) =>
        a.Arena.Cast<HalfChunk>()[from + (row * (pitch / Float8.Length)) + chunk];

    /// <summary>Of a query's logits to base 2 and what was before.</summary>
    private static float Maximum(ArrayView<float> shared, int last, float scale, float maximum)
    {
        for (var key = 0; key < Keys; key++)
        {
            var logit = shared[(ScoresAt * 4) + (Group.IdxX * ScoresPitch) + key] * scale;
            maximum = key < last ? IntrinsicMath.Max(maximum, logit) : maximum;
        }

        return maximum;
    }

    /// <summary>A query's logits become weights, 0 from key <paramref name="last"/> on.</summary>
    /// <returns>Their sum.</returns>
    private static float Weigh(ArrayView<float> shared, int last, float scale, float maximum, ArrayView<HalfChunk> weights)
    {
        var sum = 0f;
        for (var chunk = 0; chunk < KeyChunks; chunk++)
        {
            var at = (ScoresAt * 4) + (Group.IdxX * ScoresPitch) + (chunk * Float8.Length);
            var count = last - (chunk * Float8.Length);
            var values = new Float8
            {
                Low = new Float4
                {
                    X = Weight(shared[at], scale, maximum, count),
                    Y = Weight(shared[at + 1], scale, maximum, count - 1),
                    Z = Weight(shared[at + 2], scale, maximum, count - 2),
                    W = Weight(shared[at + 3], scale, maximum, count - 3),
                },
                High = new Float4
                {
                    X = Weight(shared[at + 4], scale, maximum, count - 4),
                    Y = Weight(shared[at + 5], scale, maximum, count - 5),
                    Z = Weight(shared[at + 6], scale, maximum, count - 6),
                    W = Weight(shared[at + 7], scale, maximum, count - 7),
                },
            };
            sum += values.Sum;
            MatrixFragments<TUnit>.StoreChunk(GpuHalfFormat<ClHalfConversion>.Narrow(values), weights, Queries, Group.IdxX, chunk);
        }

        return sum;
    }

    private static float Weight(float score, float scale, float maximum, int left)
    {
        var weight = default(GpuHalfFormat<ClHalfConversion>).Exp2((score * scale) - maximum);
        return left > 0 ? weight : 0f;
    }

    private static void Store(AttentionArguments<ushort> a, int to, int queries, int count, ArrayView<Float4> output)
    {
        for (var i = Group.IdxX; i < queries * Chunks; i += WorkItems)
        {
            var (row, chunk) = (i / Chunks, i % Chunks);
            if (chunk < count)
            {
                var values = new Float8 { Low = output[2 * i], High = output[(2 * i) + 1] };
                a.Arena.Cast<HalfChunk>()[to + (row * (a.TargetPitch / Float8.Length)) + chunk] = GpuHalfFormat<ClHalfConversion>.Narrow(values);
            }
        }
    }
}

/// <summary>Which attention matrix units compute.</summary>
internal static class MatrixAttentionKernel
{
    /// <summary>Whether heads and outputs lie in whole chunks.</summary>
    public static bool Fits(in AttentionArguments<ushort> a) => a.IsChunked && ((a.Target | (long)a.TargetPitch) & (Float8.Length - 1)) == 0;
}
