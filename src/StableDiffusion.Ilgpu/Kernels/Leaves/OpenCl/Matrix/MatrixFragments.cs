using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

/// <summary>Writes rows and columns of a tile to shared memory as a unit wants them (<see cref="FragmentLayout"/>), 16 values of the depth after the other.</summary>
internal static class MatrixFragments<TUnit> where TUnit : struct, IMatrixUnit
{
    /// <summary>Chunks and pairs of 16 values.</summary>
    private const int StepChunks = 2;

    private const int StepPairs = 8;

    private const int ChunkInts = 4;

    /// <summary>Eight values of a row.</summary>
    /// <param name="values">Neighbours in the depth.</param>
    /// <param name="target">Where the first row begins.</param>
    /// <param name="rows">Of the tile.</param>
    /// <param name="row">Among them.</param>
    /// <param name="chunk">Which eight of the depth.</param>
    public static void StoreChunk(HalfChunk values, ArrayView<HalfChunk> target, int rows, int row, int chunk)
    {
        var at = default(TUnit).Layout == FragmentLayout.Chunks
            ? (chunk * rows) + row : (((chunk / StepChunks * rows) + row) * StepChunks) + (chunk % StepChunks);
        target[at] = values;
    }

    /// <summary>Eight values of a column.</summary>
    /// <param name="values">Neighbours in the depth.</param>
    /// <param name="target">Where the first column begins.</param>
    /// <param name="columns">Of the tile.</param>
    /// <param name="column">Among them.</param>
    /// <param name="chunk">Which eight of the depth.</param>
    public static void StoreColumnChunk(HalfChunk values, ArrayView<HalfChunk> target, int columns, int column, int chunk)
    {
        if (default(TUnit).Layout == FragmentLayout.Chunks)
        {
            StoreChunk(values, target, columns, column, chunk);
            return;
        }

        var ints = target.Cast<int>();
        var block = default(TUnit).Columns;
        var to = (((chunk / StepChunks * columns) + (column / block * block)) * StepPairs) + (chunk % StepChunks * ChunkInts * block) + (column % block);
        ints[to] = values.First;
        ints[to + block] = values.Second;
        ints[to + (2 * block)] = values.Third;
        ints[to + (3 * block)] = values.Fourth;
    }

    /// <summary>Two neighbouring values of the depth of eight columns.</summary>
    /// <param name="first">The first value of each column.</param>
    /// <param name="second">The second one.</param>
    /// <param name="target">Where the first column begins.</param>
    /// <param name="columns">Of the tile.</param>
    /// <param name="column">The first of the eight; a multiple of 8.</param>
    /// <param name="pair">Which two of the depth.</param>
    public static void StorePairs(HalfChunk first, HalfChunk second, ArrayView<HalfChunk> target, int columns, int column, int pair)
    {
        var low = new HalfChunk
        {
            First = Lower(first.First, second.First),
            Second = Upper(first.First, second.First),
            Third = Lower(first.Second, second.Second),
            Fourth = Upper(first.Second, second.Second),
        };
        var high = new HalfChunk
        {
            First = Lower(first.Third, second.Third),
            Second = Upper(first.Third, second.Third),
            Third = Lower(first.Fourth, second.Fourth),
            Fourth = Upper(first.Fourth, second.Fourth),
        };
        if (default(TUnit).Layout == FragmentLayout.Blocks)
        {
            var block = default(TUnit).Columns;
            var at = (((((pair / StepPairs * columns) + (column / block * block)) * StepPairs) + (pair % StepPairs * block) + (column % block)) / ChunkInts);
            (target[at], target[at + 1]) = (low, high);
            return;
        }

        var ints = target.Cast<int>();
        var to = (((pair / ChunkInts * columns) + column) * ChunkInts) + (pair % ChunkInts);
        ints[to] = low.First;
        ints[to + ChunkInts] = low.Second;
        ints[to + (2 * ChunkInts)] = low.Third;
        ints[to + (3 * ChunkInts)] = low.Fourth;
        ints[to + (4 * ChunkInts)] = high.First;
        ints[to + (5 * ChunkInts)] = high.Second;
        ints[to + (6 * ChunkInts)] = high.Third;
        ints[to + (7 * ChunkInts)] = high.Fourth;
    }

    private static int Lower(int first, int second) => (first & 0xFFFF) | (second << 16);

    private static int Upper(int first, int second) => (first >>> 16) | (second & ~0xFFFF);
}
