using ILGPU;

namespace StableDiffusion.Ilgpu.Kernels.Gemm;

/// <summary>A contraction for <see cref="TensorGemmKernel{TTile, TLoop, TEnd}"/>.</summary>
internal struct TensorGemmArguments
{
    public GemmArguments<ushort> Gemm;

    /// <summary>Sums of parts of the depth, [split, row, packed column]; not used where there is one split.</summary>
    public ArrayView<float> Partial;

    /// <summary>Parts of the depth that different groups sum.</summary>
    public int Splits;

    /// <summary>Blocks of a split but the last; a block has 32 or 64 channels of one tap, or of all with <see cref="TakesSpans"/>.</summary>
    public int SplitBlocks;

    public int Blocks;

    /// <summary>Stored size by the size that the window sees, times 2^32 and rounded up; 0 where they are the same.</summary>
    public uint HeightRatio;

    public uint WidthRatio;

    /// <summary>Whether target, residual and item bias may be accessed eight values at a time.</summary>
    public int Vectors;

    /// <summary>Not 0 where output pixel i reads source pixel i alone.</summary>
    public int IsPointwise;

    public Divisor OutputPixels;

    public Divisor OutputWidth;

    /// <summary>Blocks of one tap.</summary>
    public int TapBlocks;

    public Divisor TapDivisor;

    public Divisor KernelDivisor;

    /// <summary>Where a block begins: the tap's x in bits 0-7, its y in bits 8-15, and above them its block among the tap's.</summary>
    public readonly int PositionOf(int block)
    {
        var tap = TapDivisor.Divide(block);
        var y = KernelDivisor.Divide(tap);
        return ((block - (tap * TapBlocks)) << 16) | (y << 8) | (tap - (y * Gemm.Kernel));
    }

    /// <summary>Whether source pixels are copied once for all taps (<see cref="Leaves.Cuda.SpanMultiplyText"/>): a block is then one of all taps.</summary>
    public readonly bool TakesSpans => Gemm.Kernel > 1 && Blocks == TapBlocks;

    /// <summary>Where a row's column is stored in the arena.</summary>
    public readonly long TargetOf(int row, int column) => Gemm.Target + ((long)row * Gemm.TargetPitch) + column;

    public readonly int PackedColumns => Gemm.Panels * Leaves.Tile.Columns;
}
