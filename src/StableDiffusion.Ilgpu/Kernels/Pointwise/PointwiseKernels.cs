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
    /// <summary>target = activation(source): with no activation, a copy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Activate(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    var value = default(TLeaf).Load(a.Arena, a.Source + (row * a.SourcePitch) + i);
                    default(TLeaf).Store(a.Arena, a.Target + (row * a.TargetPitch) + i, PointwiseMath.Activate(value, a.Activation));
                }
            }
        }
    }

    /// <summary>target = Factor * source + Offset.</summary>
    public static void Affine(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                for (var i = 0; i < a.Columns; i++)
                {
                    var value = default(TLeaf).Load(a.Arena, a.Source + (row * a.SourcePitch) + i);
                    default(TLeaf).Store(a.Arena, a.Target + (row * a.TargetPitch) + i, (a.Factor * value) + a.Offset);
                }
            }
        }
    }

    /// <summary>target = source + other.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Add(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                var other = a.Other + (row / a.RowsPerOther * a.OtherPitch);
                for (var i = 0; i < a.Columns; i++)
                {
                    var sum = default(TLeaf).Load(a.Arena, a.Source + (row * a.SourcePitch) + i) + default(TLeaf).Load(a.Arena, other + i);
                    default(TLeaf).Store(a.Arena, a.Target + (row * a.TargetPitch) + i, sum);
                }
            }
        }
    }

    /// <summary>target = h * gelu(g) for source rows [h | g].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Geglu(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                var source = a.Source + (row * a.SourcePitch);
                for (var i = 0; i < a.Columns; i++)
                {
                    var gate = PointwiseMath.Gelu(default(TLeaf).Load(a.Arena, source + a.Columns + i));
                    default(TLeaf).Store(a.Arena, a.Target + (row * a.TargetPitch) + i, default(TLeaf).Load(a.Arena, source + i) * gate);
                }
            }
        }
    }

    /// <summary>Nearest neighbour: source index floor(i * in / out).</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Resize(PointwiseArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            for (long row = tile * PointwiseArguments<T>.TileRows; row < LastRow(a, tile); row++)
            {
                var x = row % a.Width * a.SourceWidth / a.Width;
                var y = row / a.Width % a.Height * a.SourceHeight / a.Height;
                var from = (((row / a.Width / a.Height * a.SourceHeight) + y) * a.SourceWidth) + x;
                for (var i = 0; i < a.Columns; i++)
                {
                    a.Arena[a.Target + (row * a.TargetPitch) + i] = a.Arena[a.Source + (from * a.SourcePitch) + i];
                }
            }
        }
    }

    /// <summary>target row r = token row of id r + position row r mod Length.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TokenEmbedding(EmbeddingArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var row = default(TLeaf).NextTile(counter, -1); row < a.Rows; row = default(TLeaf).NextTile(counter, row))
        {
            var token = (long)a.Ids[row] * a.Columns;
            var position = row % a.Length * a.Columns;
            for (var i = 0; i < a.Columns; i++)
            {
                var sum = default(TLeaf).Load(a.Tokens, token + i) + default(TLeaf).Load(a.Positions, position + i);
                default(TLeaf).Store(a.Arena, a.Target + ((long)row * a.TargetPitch) + i, sum);
            }
        }
    }

    /// <summary>target row r = cosines and sines of timestep r times each frequency.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void TimestepEmbedding(EmbeddingArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        var half = a.Columns / 2;
        for (var row = default(TLeaf).NextTile(counter, -1); row < a.Rows; row = default(TLeaf).NextTile(counter, row))
        {
            var target = a.Target + ((long)row * a.TargetPitch);
            for (var i = 0; i < half; i++)
            {
                var angle = a.Timesteps[row] * a.Frequencies[i];
                default(TLeaf).Store(a.Arena, target + (a.CosineFirst != 0 ? i : half + i), PointwiseMath.Cos(angle));
                default(TLeaf).Store(a.Arena, target + (a.CosineFirst != 0 ? half + i : i), PointwiseMath.Sin(angle));
            }
        }
    }

    private static int LastRow(PointwiseArguments<T> a, int tile) =>
        IntrinsicMath.Min(a.Rows, (tile + 1) * PointwiseArguments<T>.TileRows);
}
