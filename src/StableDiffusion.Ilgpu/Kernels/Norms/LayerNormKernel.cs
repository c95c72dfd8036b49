using System.Runtime.CompilerServices;
using ILGPU;
using StableDiffusion.Ilgpu.Kernels.Leaves;

namespace StableDiffusion.Ilgpu.Kernels.Norms;

/// <summary>Rows of Channels values, each normalised by itself. Offsets and pitches are in elements.</summary>
internal struct LayerNormArguments<T> where T : unmanaged
{
    /// <summary>Rows of a tile.</summary>
    public const int TileRows = 32;

    public ArrayView<T> Arena;
    public ArrayView<float> Weights;
    public ArrayView<float> Biases;
    public long Source;
    public long Target;
    public int SourcePitch;
    public int TargetPitch;
    public int Rows;
    public int Channels;
    public float Epsilon;

    /// <summary>Whether all rows are aligned and whole for work-items that move eight values at a time.</summary>
    public readonly bool IsChunked => ((Source | Target | (long)(SourcePitch | TargetPitch | Channels)) & (Float8.Length - 1)) == 0;

    public readonly int Tiles => (Rows + TileRows - 1) / TileRows;
}

/// <summary>Layer norm (Ba et al. 2016, arXiv:1607.06450), for devices whose groups have one work-item.</summary>
internal static class LayerNormKernel<T, TLeaf>
    where T : unmanaged
    where TLeaf : struct, ILeaf<T>
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(LayerNormArguments<T> a, ArrayView<float> scratch, ArrayView<int> counter)
    {
        for (var tile = default(TLeaf).NextTile(counter, -1); tile < a.Tiles; tile = default(TLeaf).NextTile(counter, tile))
        {
            var first = tile * LayerNormArguments<T>.TileRows;
            var end = IntrinsicMath.Min(a.Rows, first + LayerNormArguments<T>.TileRows);
            for (long row = first; row < end; row++)
            {
                default(TLeaf).NormalizeRow(
                    a.Arena, a.Source + (row * a.SourcePitch), a.Arena, a.Target + (row * a.TargetPitch), a.Channels, a.Weights, a.Biases, a.Epsilon);
            }
        }
    }
}
