using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// Attention without stored scores (Dao et al. 2022, arXiv:2205.14135) on matrix units of OpenCL devices. One group computes 64 queries of one head, and of the
/// head's columns as many as its output has: where there are more, several groups compute the same scores. For each block of 32 keys, its
/// sub-groups multiply queries by keys; then two work-items take each query's softmax, of half of the keys each; then the sub-groups multiply the weights, in
/// fp16, by the values.
/// </summary>
internal static class MatrixAttentionKernel<TUnit, TOutput>
    where TUnit : struct, IMatrixUnit
    where TOutput : struct, IMatrixTile
{
    private const int Queries = 64;

    private const int Keys = 32;

    private const int WorkItems = 2 * Queries;

    /// <summary>A score that no real one falls below: its weight is nothing beside any other's.</summary>
    private const float Lowest = -1e30f;

    /// <summary>
    /// What weights, of 0 to 1, are stored times of: the smallest ones that count are then normal numbers of fp16, which AMD's CDNA 2 takes the others of for zeros.
    /// Sums are of the same, so outputs know nothing of it.
    /// </summary>
    private const float Magnified = 32768f;

    private const int StepInts = 8;

    private const int KeyChunks = Keys / Float8.Length;

    private static int ScoresPitch => default(ScoresTile).SumsPitch;

    /// <summary>A head's columns that a group has, which are also the channels that are multiplied before others take their place.</summary>
    private static int Columns => default(TOutput).Columns;

    private static int Chunks => Columns / Float8.Length;

    /// <summary>Where in shared memory what lies, in chunks. Queries come first, and after the last key the output in the place of the first three.</summary>
    private static int KeysAt => Queries * Chunks;

    private static int ValuesAt => KeysAt + (Keys * Chunks);

    private static int WeightsAt => ValuesAt + (Keys * Chunks);

    private static int ScoresAt => WeightsAt + (Queries * KeyChunks);

    private static int FactorsAt => ScoresAt + (Queries * ScoresPitch / 4);

    /// <summary>A factor each for queries, and at the end sums of both halves of the keys.</summary>
    private static int SharedChunks => FactorsAt + (2 * Queries / 4);

    private static int Query => Group.IdxX % Queries;

    private static int FirstKeyOfHalf => Group.IdxX / Queries * (Keys / 2);

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
                    LoadQueries(a, QueryAt(a, item, head, firstQuery) + (channel / Float8.Length), queries, count / Float8.Length, shared);
                }

                LoadKeys(a, KeyAt(a, item, head, firstKey) + (channel / Float8.Length), keys, count / Float8.Length, shared.SubView(KeysAt));
                if (channel == 0)
                {
                    LoadValues(a, ValueAt(a, item, head, firstKey) + (firstColumn / Float8.Length), keys, columns / Float8.Length, shared.SubView(ValuesAt));
                }

                Group.Barrier();
                for (var step = 0; step * 2 * StepInts < count; step++)
                {
                    ClMatrix<TUnit, ScoresTile>.MultiplyAdd(ref ints[step * Queries * StepInts], ref ints[(KeysAt * 4) + (step * Keys * StepInts)]);
                }
            }

            ClMatrix<TUnit, ScoresTile>.Store(ref floats[ScoresAt * 4]);
            Group.Barrier();
            var last = a.Causal != 0 ? IntrinsicMath.Min(keys, firstQuery + Query - firstKey + 1) : keys;
            var before = maximum;
            maximum = IntrinsicMath.Max(before, Highest(shared.Cast<Float4>(), last));
            var rescale = Weight(before, a.Scale, maximum, 1);
            sum = (sum * rescale) + Weigh(shared, last, a.Scale, maximum);
            floats[(FactorsAt * 4) + Query] = rescale;
            Group.Barrier();
            ClMatrix<TUnit, TOutput>.Scale(ref floats[FactorsAt * 4]);
            ClMatrix<TUnit, TOutput>.MultiplyAdd(ref ints[WeightsAt * 4], ref ints[ValuesAt * 4]);
            ClMatrix<TUnit, TOutput>.MultiplyAdd(ref ints[(WeightsAt * 4) + (Queries * StepInts)], ref ints[(ValuesAt * 4) + (Columns * StepInts)]);
        }

        Group.Barrier();
        floats[(FactorsAt * 4) + Group.IdxX] = sum;
        Group.Barrier();
        sum = floats[(FactorsAt * 4) + Query] + floats[(FactorsAt * 4) + Queries + Query];
        Group.Barrier();
        floats[(FactorsAt * 4) + Query] = 1f / sum;
        Group.Barrier();
        ClMatrix<TUnit, TOutput>.Scale(ref floats[FactorsAt * 4]);
        ClMatrix<TUnit, TOutput>.Store(ref floats[0]);
        Group.Barrier();
        Store(a, TargetAt(a, item, head, firstQuery) + (firstColumn / Float8.Length), queries, columns / Float8.Length, shared.Cast<Float4>());
    }

    private static int QueryBlocks(AttentionArguments<ushort> a) => (a.Queries + Queries - 1) / Queries;

    private static int Parts(AttentionArguments<ushort> a) => (a.HeadSize + Columns - 1) / Columns;

    /// <summary>Where a group's first query begins in the arena, in chunks; likewise the others.</summary>
    private static int QueryAt(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Query, a.QueryPitch, (item * a.Queries) + row, head, a.HeadSize);

    private static int KeyAt(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Key, a.KeyPitch, (item * a.Keys) + row, head, a.HeadSize);

    private static int ValueAt(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Value, a.ValuePitch, (item * a.Keys) + row, head, a.HeadSize);

    private static int TargetAt(AttentionArguments<ushort> a, int item, int head, int row) => First(a.Target, a.TargetPitch, (item * a.Queries) + row, head, a.HeadSize);

    private static int First(long tensor, int pitch, int row, int head, int headSize) =>
        (int)(tensor / Float8.Length) + (row * (pitch / Float8.Length)) + (head * (headSize / Float8.Length));

    /// <summary>Zeros beyond the last channel; beyond the last query that one is there again, whose output nobody stores.</summary>
    private static void LoadQueries(AttentionArguments<ushort> a, int from, int queries, int count, ArrayView<HalfChunk> target)
    {
        var row = Group.IdxX / 2;
        from += IntrinsicMath.Min(row, queries - 1) * (a.QueryPitch / Float8.Length);
        for (var chunk = Group.IdxX % 2; chunk < Chunks; chunk += 2)
        {
            var values = Read(a, from + IntrinsicMath.Min(chunk, count - 1));
            MatrixFragments<TUnit>.StoreChunk(HalfChunk.And(values, chunk < count ? -1 : 0), target, Queries, row, chunk);
        }
    }

    /// <summary>Channels beyond the last are that one again, which zeros multiply; keys likewise, whose scores nobody asks for.</summary>
    private static void LoadKeys(AttentionArguments<ushort> a, int from, int keys, int count, ArrayView<HalfChunk> target)
    {
        const int Step = WorkItems / Keys;
        var row = Group.IdxX / 2 % Keys;
        from += IntrinsicMath.Min(row, keys - 1) * (a.KeyPitch / Float8.Length);
        for (var chunk = (Group.IdxX / (2 * Keys) * 2) + (Group.IdxX % 2); chunk < Chunks; chunk += Step)
        {
            MatrixFragments<TUnit>.StoreColumnChunk(Read(a, from + IntrinsicMath.Min(chunk, count - 1)), target, Keys, row, chunk);
        }
    }

    /// <summary>Values beyond the last are that one again, whose weight is zero; columns likewise, which nobody stores.</summary>
    private static void LoadValues(AttentionArguments<ushort> a, int from, int keys, int count, ArrayView<HalfChunk> target)
    {
        const int Step = 2 * WorkItems / Keys;
        var pair = Group.IdxX / 2 % (Keys / 2);
        var second = from + (IntrinsicMath.Min((2 * pair) + 1, keys - 1) * (a.ValuePitch / Float8.Length));
        from += IntrinsicMath.Min(2 * pair, keys - 1) * (a.ValuePitch / Float8.Length);
        for (var chunk = (Group.IdxX / Keys * 2) + (Group.IdxX % 2); chunk < Chunks; chunk += Step)
        {
            var column = IntrinsicMath.Min(chunk, count - 1);
            MatrixFragments<TUnit>.StorePairs(Read(a, from + column), Read(a, second + column), target, Columns, chunk * Float8.Length, pair);
        }
    }

    private static HalfChunk Read(AttentionArguments<ushort> a, int chunk) => a.Arena.Cast<HalfChunk>()[chunk];

    /// <summary>Of a query's scores; but for a causal attention and the last keys, all are there.</summary>
    private static float Highest(ArrayView<Float4> shared, int last)
    {
        var highest = float.NegativeInfinity;
        for (var key = 0; key < Keys; key += 4)
        {
            var scores = shared[ScoresAt + (((Query * ScoresPitch) + key) / 4)];
            if (last < Keys)
            {
                scores.X = key < last ? scores.X : float.NegativeInfinity;
                scores.Y = key + 1 < last ? scores.Y : float.NegativeInfinity;
                scores.Z = key + 2 < last ? scores.Z : float.NegativeInfinity;
                scores.W = key + 3 < last ? scores.W : float.NegativeInfinity;
            }

            highest = IntrinsicMath.Max(highest, IntrinsicMath.Max(IntrinsicMath.Max(scores.X, scores.Y), IntrinsicMath.Max(scores.Z, scores.W)));
        }

        return highest;
    }

    /// <summary>Half of a query's scores become weights, 0 from key <paramref name="last"/> on.</summary>
    /// <returns>Their sum.</returns>
    private static float Weigh(ArrayView<HalfChunk> shared, int last, float scale, float maximum)
    {
        var scores = shared.Cast<Float4>();
        var sum = 0f;
        for (var chunk = 0; chunk < KeyChunks / 2; chunk++)
        {
            var key = FirstKeyOfHalf + (chunk * Float8.Length);
            var at = ScoresAt + (((Query * ScoresPitch) + key) / 4);
            var weights = new Float8
            {
                Low = Weights(scores[at], scale, maximum, last - key),
                High = Weights(scores[at + 1], scale, maximum, last - key - 4),
            };
            sum += weights.Sum;
            MatrixFragments<TUnit>.StoreChunk(
                GpuHalfFormat<ClHalfConversion>.Narrow(weights), shared.SubView(WeightsAt), Queries, Query, key / Float8.Length);
        }

        return sum;
    }

    /// <summary>Of four keys those that are left.</summary>
    private static Float4 Weights(Float4 scores, float scale, float maximum, int left) => new()
    {
        X = Magnified * Weight(scores.X, scale, maximum, left),
        Y = Magnified * Weight(scores.Y, scale, maximum, left - 1),
        Z = Magnified * Weight(scores.Z, scale, maximum, left - 2),
        W = Magnified * Weight(scores.W, scale, maximum, left - 3),
    };

    /// <summary>Of the largest score exactly 1, whatever its size.</summary>
    private static float Weight(float score, float scale, float maximum, int left)
    {
        var weight = default(GpuHalfFormat<ClHalfConversion>).Exp2((score - maximum) * scale);
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
