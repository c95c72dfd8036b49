using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>A contraction for <see cref="TensorGemmKernel{TTile, TLoop}"/>.</summary>
internal struct TensorGemmArguments
{
    public GemmArguments<ushort> Gemm;

    /// <summary>Sums of parts of the depth, [split, row, packed column]; not used where there is one split.</summary>
    public ArrayView<float> Partial;

    /// <summary>Parts of the depth that different groups sum.</summary>
    public int Splits;

    /// <summary>Blocks of a split but the last; a block has 32 or 64 channels of one tap.</summary>
    public int SplitBlocks;

    public int Blocks;

    /// <summary>Stored size by the size that the window sees, times 2^32 and rounded up; 0 where they are the same.</summary>
    public uint HeightRatio;

    public uint WidthRatio;

    /// <summary>Whether target, residual and item bias may be accessed eight values at a time.</summary>
    public int Vectors;

    public readonly int PackedColumns => Gemm.Panels * Leaves.Tile.Columns;
}
