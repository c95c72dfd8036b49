using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Attention;

/// <summary>
/// What <see cref="GpuAttentionKernel{T, TFormat}"/> copies to shared memory. Reads of memory stand one after the other, without a branch in between: beyond the
/// last row that one is read again. Compilers then send all reads on their way before they wait for the first.
/// </summary>
internal static class GpuAttentionTile<T, TFormat>
    where T : unmanaged
    where TFormat : struct, IGpuFormat<T>
{
    public const int WorkItems = 64;

    public const int BlockKeys = 32;

    /// <summary>Channels that are multiplied at a time.</summary>
    public const int Depth = 2 * Float8.Length;

    /// <summary>Channels, and keys, that are multiplied without a look at the loop's end; zeros fill them up.</summary>
    public const int Unrolled = 2;

    /// <summary>Rows that the work-items read at a time, sixteen each.</summary>
    private const int Step = WorkItems / Depth;

    /// <summary>
    /// Some channels of 64 queries, scaled, and of 32 keys, turned: channel k of row r goes to k * pitch + r. Rows beyond the last are that one again; nobody asks for
    /// their scores. Channels beyond the last are zero up to a multiple of what is unrolled.
    /// </summary>
    /// <param name="a">The attention.</param>
    /// <param name="query">The first query's first channel.</param>
    /// <param name="queries">How many there are.</param>
    /// <param name="queryPitch">Of the queries' target.</param>
    /// <param name="key">The first key's first channel.</param>
    /// <param name="keys">How many there are.</param>
    /// <param name="keyPitch">Of the keys' target.</param>
    /// <param name="count">How many channels there are.</param>
    /// <param name="target">Queries, then keys.</param>
    /// <param name="keysAt">Where the keys begin.</param>
    public static void LoadTurned(
        AttentionArguments<T> a, long query, int queries, int queryPitch, long key, int keys, int keyPitch, int count, ArrayView<float> target, int keysAt)
    {
        if (!a.IsChunked)
        {
            LoadTurnedValues(a, query, a.QueryPitch, queries, WorkItems, count, a.Scale, target, 0, queryPitch);
            LoadTurnedValues(a, key, a.KeyPitch, keys, BlockKeys, count, 1f, target, keysAt, keyPitch);
            return;
        }

        // One work-item a query, and half of a key.
        var (row, k) = (Group.IdxX % BlockKeys, Group.IdxX / BlockKeys * Float8.Length);
        var last = count - Float8.Length;
        var queryRow = query + ((long)IntrinsicMath.Min(Group.IdxX, queries - 1) * a.QueryPitch);
        var query0 = default(TFormat).LoadChunk(a.Arena, queryRow);
        var query1 = default(TFormat).LoadChunk(a.Arena, queryRow + last);
        var keyChunk = default(TFormat).LoadChunk(a.Arena, key + ((long)IntrinsicMath.Min(row, keys - 1) * a.KeyPitch) + IntrinsicMath.Min(k, last));
        var scale = Float8.Fill(a.Scale);
        Float8.StoreColumn(Float8.Multiply(query0, scale), target, Group.IdxX, queryPitch);
        Float8.StoreColumn(Float8.Multiply(query1, scale), target, (Float8.Length * queryPitch) + Group.IdxX, queryPitch);
        Float8.StoreColumn(keyChunk, target, keysAt + (k * keyPitch) + row, keyPitch);
    }

    /// <summary>
    /// [key, pitch], columns rounded up to what work-items hold together. Keys and columns beyond the last are others again: the first have no weight, and the second
    /// are not stored.
    /// </summary>
    public static void LoadValues(
        AttentionArguments<T> a, int item, int head, int firstColumn, int columns, int firstKey, int keys, ArrayView<Float4> target, int pitch)
    {
        var source = a.Value + ((((long)item * a.Keys) + firstKey) * a.ValuePitch) + (head * a.HeadSize) + firstColumn;
        if (!a.IsChunked)
        {
            LoadValuesSingly(a, source, columns, keys, target.Cast<float>(), pitch);
            return;
        }

        // Two work-items a key: every other chunk each, three at a time.
        var key = Group.IdxX / 2;
        var first = Group.IdxX % 2 * Float8.Length;
        var last = columns - Float8.Length;
        source += (long)IntrinsicMath.Min(key, keys - 1) * a.ValuePitch;
        for (var column = first; column < Tile.RoundUp(columns, Depth); column += 3 * Depth)
        {
            var values0 = default(TFormat).LoadChunk(a.Arena, source + IntrinsicMath.Min(column, last));
            var values1 = default(TFormat).LoadChunk(a.Arena, source + IntrinsicMath.Min(column + Depth, last));
            var values2 = default(TFormat).LoadChunk(a.Arena, source + IntrinsicMath.Min(column + (2 * Depth), last));
            StoreValues(target, pitch, key, column, values0);
            StoreValues(target, pitch, key, column + Depth, values1);
            StoreValues(target, pitch, key, column + (2 * Depth), values2);
        }
    }

    private static void StoreValues(ArrayView<Float4> target, int pitch, int key, int column, Float8 values)
    {
        if (column < pitch)
        {
            var at = ((key * pitch) + column) / 4;
            (target[at], target[at + 1]) = (values.Low, values.High);
        }
    }

    private static void LoadTurnedValues(
        AttentionArguments<T> a, long source, int sourcePitch, int rows, int allRows, int count, float factor, ArrayView<float> target, int offset, int pitch)
    {
        var k = Group.IdxX % Depth;
        var present = k < count ? factor : 0f;
        source += IntrinsicMath.Min(k, count - 1);
        for (var row = Group.IdxX / Depth; row < allRows; row += 4 * Step)
        {
            var value0 = Load(a, source, sourcePitch, row, rows);
            var value1 = Load(a, source, sourcePitch, row + Step, rows);
            var value2 = Load(a, source, sourcePitch, row + (2 * Step), rows);
            var value3 = Load(a, source, sourcePitch, row + (3 * Step), rows);
            var at = offset + (k * pitch) + row;
            target[at] = value0 * present;
            target[at + Step] = value1 * present;
            target[at + (2 * Step)] = value2 * present;
            target[at + (3 * Step)] = value3 * present;
        }
    }

    private static void LoadValuesSingly(AttentionArguments<T> a, long source, int columns, int keys, ArrayView<float> target, int pitch)
    {
        for (var column = Group.IdxX % Depth; column < Tile.RoundUp(columns, Depth); column += Depth)
        {
            var from = source + IntrinsicMath.Min(column, columns - 1);
            for (var key = Group.IdxX / Depth; key < BlockKeys; key += 4 * Step)
            {
                var value0 = Load(a, from, a.ValuePitch, key, keys);
                var value1 = Load(a, from, a.ValuePitch, key + Step, keys);
                var value2 = Load(a, from, a.ValuePitch, key + (2 * Step), keys);
                var value3 = Load(a, from, a.ValuePitch, key + (3 * Step), keys);
                var at = (key * pitch) + column;
                target[at] = value0;
                target[at + (Step * pitch)] = value1;
                target[at + (2 * Step * pitch)] = value2;
                target[at + (3 * Step * pitch)] = value3;
            }
        }
    }

    private static float Load(AttentionArguments<T> a, long source, int pitch, int row, int rows) =>
        default(TFormat).Load(a.Arena, source + ((long)IntrinsicMath.Min(row, rows - 1) * pitch));
}
