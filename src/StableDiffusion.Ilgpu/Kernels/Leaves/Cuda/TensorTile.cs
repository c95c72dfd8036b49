namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>The part of a contraction's result that one group computes. Kernels are compiled for each implementation.</summary>
internal interface ITensorTile
{
    /// <summary>64 or 128.</summary>
    int Rows { get; }

    /// <summary>Panels of 32 columns.</summary>
    int Panels { get; }
}

/// <summary>128 x 128.</summary>
internal struct SquareTile : ITensorTile
{
    public readonly int Rows => 128;

    public readonly int Panels => 4;
}

/// <summary>128 x 160, which divides all widths of Stable Diffusion's UNets without rest.</summary>
internal struct WideTile : ITensorTile
{
    public readonly int Rows => 128;

    public readonly int Panels => 5;
}

/// <summary>64 x 160, where twice as many groups are worth more than the copies of panels that they share. For <c>mma.sync</c>.</summary>
internal struct LowTile : ITensorTile
{
    public readonly int Rows => 64;

    public readonly int Panels => 5;
}

/// <summary>128 x 64, of which three groups fit a multiprocessor. For <c>wgmma</c>, and for <c>mma.sync</c> where larger tiles leave no room for a second group.</summary>
internal struct TallTile : ITensorTile
{
    public readonly int Rows => 128;

    public readonly int Panels => 2;
}

/// <summary>128 x 32, for results of few columns. For <c>wgmma</c>.</summary>
internal struct NarrowTile : ITensorTile
{
    public readonly int Rows => 128;

    public readonly int Panels => 1;
}

/// <summary>64 x 64, for few columns or rows.</summary>
internal struct SmallTile : ITensorTile
{
    public readonly int Rows => 64;

    public readonly int Panels => 2;
}

/// <summary>What tile, main loop and epilogue agree on.</summary>
/// <param name="Rows">Of the tile.</param>
/// <param name="Panels">Of 32 columns each.</param>
internal readonly record struct TensorTileShape(int Rows, int Panels)
{
    /// <summary>Where <c>wgmma</c>'s operands begin in shared memory: at multiples of these.</summary>
    public const int SwizzleAlignment = 1024;

    /// <summary>The first multiple of an alignment, a power of two, in shared memory from an offset on.</summary>
    public static uint Align(uint shared, int alignment) => (shared + (uint)alignment - 1) & ~((uint)alignment - 1);

    /// <summary>Of dynamic shared memory, which kernels ask for as an array of <see cref="Float4"/>.</summary>
    private const int SharedAlignment = 16;

    public int Columns => Panels * Tile.Columns;

    /// <summary>
    /// fp32 values from one row of sums in shared memory to the next. The 8 more let the rows that a warp writes at once fall on different banks.
    /// </summary>
    public int SumsPitch => Columns + 8;

    /// <summary>fp16 values of the source and of the panels, for so much of the depth.</summary>
    public int StageBytes(int depth) => (Rows + Columns) * depth * sizeof(ushort);

    /// <summary>What a loop copies, and after it the sums of a pass of rows in their place.</summary>
    public int SharedBytes(ITensorLoop loop) =>
        Math.Max(loop.CopiedBytes(this) + loop.StageAlignment - SharedAlignment, loop.PassRows(this) * SumsPitch * sizeof(float));

    public static TensorTileShape Of<TTile>() where TTile : struct, ITensorTile => new(default(TTile).Rows, default(TTile).Panels);
}
