namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// The part of a contraction's result that one group of four warps computes: two warps lie above each other and two side by side, each with half of the
/// rows and half of the columns. Kernels are compiled for each implementation.
/// </summary>
internal interface ITensorTile
{
    /// <summary>A multiple of 64.</summary>
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

/// <summary>64 x 64, where larger tiles would leave multiprocessors idle.</summary>
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
    public const int Threads = 128;

    /// <summary>Depth of a block: what a stage holds, and what the loop multiplies at a time.</summary>
    public const int Depth = 32;

    /// <summary>Stages of shared memory that copies run ahead in.</summary>
    public const int Stages = 4;

    /// <summary>Groups that should fit a multiprocessor's registers at the same time.</summary>
    public const int GroupsPerMultiprocessor = 2;

    /// <summary>Both the source's rows and the panels' have this many: 32 fp16 values.</summary>
    public const int RowBytes = 2 * Depth;

    public int Columns => Panels * Tile.Columns;

    public int WarpRows => Rows / 2;

    public int WarpColumns => Columns / 2;

    public int StageBytes => (Rows + Columns) * RowBytes;

    /// <summary>
    /// fp32 values from one row of sums in shared memory to the next. The 8 more let the rows that a warp writes at once fall on different banks.
    /// </summary>
    public int SumsPitch => Columns + 8;

    /// <summary>Stages, and after the loop half of the rows' sums in their place.</summary>
    public int SharedBytes => Math.Max(Stages * StageBytes, WarpRows * SumsPitch * sizeof(float));

    public static TensorTileShape Of<TTile>() where TTile : struct, ITensorTile => new(default(TTile).Rows, default(TTile).Panels);
}
