using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Pointwise;

/// <summary>
/// What a graph needs beside contractions, attention and norms. Most of it is fused away; what is left is small.
/// For devices whose groups have one work-item.
/// </summary>
internal static class PointwiseKernels<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Activate(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    PointwiseElements<T, TLeaf>.Activate(a, row, i);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Affine(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    PointwiseElements<T, TLeaf>.Affine(a, row, i);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    PointwiseElements<T, TLeaf>.Add(a, row, i);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Geglu(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    PointwiseElements<T, TLeaf>.Geglu(a, row, i);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Resize(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    PointwiseElements<T, TLeaf>.Resize(a, row, i);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TokenEmbedding(EmbeddingArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var row = default(TLeaf).NextTile(counter, -1); row < a.Rows; row = default(TLeaf).NextTile(counter, row))
        {
            for (var i = 0; i < a.Columns; i++)
            {
                PointwiseElements<T, TLeaf>.TokenEmbedding(a, row, i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TimestepEmbedding(EmbeddingArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var row = default(TLeaf).NextTile(counter, -1); row < a.Rows; row = default(TLeaf).NextTile(counter, row))
        {
            for (var i = 0; i < a.Columns / 2; i++)
            {
                PointwiseElements<T, TLeaf>.TimestepEmbedding(a, row, i);
            }
        }
    }

    private static int LastRow(PointwiseArguments<T> a, int tile) =>
        IntrinsicMath.Min(a.Rows, (tile + 1) * PointwiseArguments<T>.TileRows);
}
