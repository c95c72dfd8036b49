namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>The part of a contraction's result that one group of four warps computes. Kernels are compiled for each implementation.</summary>
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

/// <summary>64 x 160, where twice as many groups are worth more than the copies of panels that they share.</summary>
internal struct LowTile : ITensorTile
{
    public readonly int Rows => 64;

    public readonly int Panels => 5;
}

/// <summary>64 x 64, for few columns.</summary>
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

    /// <summary>Groups that should fit a multiprocessor's registers at the same time.</summary>
    public const int GroupsPerMultiprocessor = 2;

    /// <summary>Stages begin at multiples of these.</summary>
    public const int StageAlignment = 1024;

    /// <summary>Rows whose sums lie in shared memory at a time.</summary>
    public const int PassRows = 64;

    public int Columns => Panels * Tile.Columns;

    /// <summary>fp32 sums of each thread.</summary>
    public int Sums => Rows * Columns / Threads;

    /// <summary>
    /// fp32 values from one row of sums in shared memory to the next. The 8 more let the rows that a warp writes at once fall on different banks.
    /// </summary>
    public int SumsPitch => Columns + 8;

    /// <summary>fp16 values of the source and of the panels, for so much of the depth.</summary>
    public int StageBytes(int depth) => (Rows + Columns) * depth * sizeof(ushort);

    /// <summary>The stages, and after the loop the sums of 64 rows in their place.</summary>
    public int SharedBytes(int depth, int stages) => Math.Max((stages * StageBytes(depth)) + StageAlignment, PassRows * SumsPitch * sizeof(float));

    public static TensorTileShape Of<TTile>() where TTile : struct, ITensorTile => new(default(TTile).Rows, default(TTile).Panels);
}
