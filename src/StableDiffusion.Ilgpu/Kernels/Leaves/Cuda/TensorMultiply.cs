using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>How a group multiplies. Kernels are compiled for each implementation.</summary>
internal interface ITensorLoop
{
    /// <summary>Of a group.</summary>
    int Threads { get; }

    /// <summary>Channels of a block: what a stage holds, and what the loop multiplies at a time.</summary>
    int Depth { get; }

    /// <summary>Bytes of shared memory that copies run ahead in.</summary>
    int CopiedBytes(TensorTileShape tile);

    /// <summary>Stages begin at multiples of these.</summary>
    int StageAlignment { get; }

    /// <summary>Groups that should fit a multiprocessor's registers at the same time.</summary>
    int GroupsPerMultiprocessor(TensorTileShape tile);

    /// <summary>Rows whose sums lie in shared memory at a time after the loop.</summary>
    int PassRows(TensorTileShape tile);

    /// <summary>Rows whose other summands a thread reads ahead after the loop, two or four: as far as there are registers.</summary>
    int RowsTogether(TensorTileShape tile);

    TensorText Text(TensorTileShape tile);
}

/// <summary><c>mma.sync</c>: every warp by itself.</summary>
internal struct WarpLoop : ITensorLoop
{
    public const int MostStages = 4;

    public readonly int Threads => TensorMultiplyText.Threads;

    public readonly int Depth => TensorMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorMultiplyText.StageAlignment;

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => 2;

    public readonly int PassRows(TensorTileShape tile) => 64;

    public readonly int CopiedBytes(TensorTileShape tile) => MostStages * tile.StageBytes(Depth);

    public readonly int RowsTogether(TensorTileShape tile) => 2;

    public readonly TensorText Text(TensorTileShape tile) => new TensorMultiplyText(tile, MostStages);
}

/// <summary>
/// The same with fewer stages, so that two groups fit the shared memory of <see cref="TensorCores.SmallAmpere"/>: what one waits for at its beginning and its
/// end, the other one hides. Products take so long there that copies need not run far ahead.
/// </summary>
internal struct ShortWarpLoop : ITensorLoop
{
    /// <summary>A group's half, less the table of rows.</summary>
    private static readonly int SharedBytes = TensorCores.SmallAmpere.GroupBytes(2) - 1024;

    public readonly int Threads => TensorMultiplyText.Threads;

    public readonly int Depth => TensorMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorMultiplyText.StageAlignment;

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => 2;

    public readonly int PassRows(TensorTileShape tile) => 64;

    public readonly int CopiedBytes(TensorTileShape tile) => Stages(tile) * tile.StageBytes(Depth);

    public readonly int RowsTogether(TensorTileShape tile) => 2;

    public readonly TensorText Text(TensorTileShape tile) => new TensorMultiplyText(tile, Stages(tile));

    private readonly int Stages(TensorTileShape tile) => Math.Min(WarpLoop.MostStages, SharedBytes / tile.StageBytes(Depth));
}

/// <summary>
/// The same before compute capability 8.0, where copies go through registers: asked for before a block's products, stored behind them.
/// </summary>
internal struct TuringLoop : ITensorLoop
{
    private const int Stages = 2;

    public readonly int Threads => TensorMultiplyText.Threads;

    public readonly int Depth => TensorMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorMultiplyText.StageAlignment;

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => tile.Rows > 64 ? 2 : 3;

    public readonly int PassRows(TensorTileShape tile) => 64;

    public readonly int CopiedBytes(TensorTileShape tile) => Stages * tile.StageBytes(Depth);

    public readonly int RowsTogether(TensorTileShape tile) => 2;

    public readonly TensorText Text(TensorTileShape tile) => new TensorMultiplyText(tile, Stages, throughRegisters: true);
}

/// <summary>Hopper's <c>wgmma</c>: two times four warps together.</summary>
internal struct WarpgroupLoop : ITensorLoop
{
    public readonly int Threads => WarpgroupMultiplyText.Threads;

    public readonly int Depth => WarpgroupMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorTileShape.SwizzleAlignment;

    /// <summary>As many groups as registers let fit a multiprocessor fit its shared memory too.</summary>
    public readonly int CopiedBytes(TensorTileShape tile) => Stages(tile) * tile.StageBytes(Depth);

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => tile.Columns <= 64 ? 3 : 2;

    /// <summary>All at once: each thread has two rounds of it less to wait for.</summary>
    public readonly int PassRows(TensorTileShape tile) => tile.Rows;

    public readonly int RowsTogether(TensorTileShape tile) => tile.Columns <= 64 ? 2 : 4;

    public readonly TensorText Text(TensorTileShape tile) => new WarpgroupMultiplyText(tile, Stages(tile));

    private static int Stages(TensorTileShape tile) => tile.Rows == 64 ? 4 : 3;
}

/// <summary>
/// The same where each multiprocessor has one group at most: all shared memory is its own, and as many copies are on the way as fit. One alone waits for
/// memory with nothing to hide that.
/// </summary>
internal struct DeepWarpgroupLoop : ITensorLoop
{
    /// <summary>What a group of compute capability 9.0 may have, less the table of rows.</summary>
    private const int SharedBytes = 224 * 1024;

    private const int MostStages = 8;

    public readonly int Threads => WarpgroupMultiplyText.Threads;

    public readonly int Depth => WarpgroupMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorTileShape.SwizzleAlignment;

    public readonly int CopiedBytes(TensorTileShape tile) => Stages(tile) * tile.StageBytes(Depth);

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => 1;

    public readonly int PassRows(TensorTileShape tile) => tile.Rows;

    public readonly int RowsTogether(TensorTileShape tile) => 4;

    public readonly TensorText Text(TensorTileShape tile) => new WarpgroupMultiplyText(tile, Stages(tile));

    private readonly int Stages(TensorTileShape tile) => Math.Min(MostStages, (SharedBytes - StageAlignment) / tile.StageBytes(Depth));
}

/// <summary>
/// For 3x3 convolutions: source pixels are copied once for all nine taps (<see cref="SpanMultiplyText"/>). What a multiprocessor copies of the L2 cache falls by a
/// third; in return one group takes all of its shared memory.
/// </summary>
internal struct SpanLoop : ITensorLoop
{
    public readonly int Threads => WarpgroupMultiplyText.Threads;

    public readonly int Depth => WarpgroupMultiplyText.BlockDepth;

    public readonly int StageAlignment => TensorTileShape.SwizzleAlignment;

    public readonly int CopiedBytes(TensorTileShape tile) => SpanMultiplyText.CopiedBytes(tile);

    public readonly int GroupsPerMultiprocessor(TensorTileShape tile) => 1;

    public readonly int PassRows(TensorTileShape tile) => tile.Rows;

    public readonly int RowsTogether(TensorTileShape tile) => 4;

    public readonly TensorText Text(TensorTileShape tile) => new SpanMultiplyText(tile);
}

/// <summary>
/// The main loop of a contraction on tensor cores, as placeholders for the texts of <see cref="TensorText"/>. A kernel calls
/// <see cref="Begin"/>, <see cref="Start"/>, <see cref="Run"/>, and <see cref="StoreSums"/> for each pass, once in its code each.
/// The first argument gives way to the text.
/// </summary>
internal static class TensorMultiply<TTile, TLoop>
    where TTile : struct, ITensorTile
    where TLoop : struct, ITensorLoop
{
    /// <param name="text">The text's place.</param>
    /// <param name="source">Address of the source's first value; a multiple of 16.</param>
    /// <param name="weights">Address of the tile's first panel; a multiple of 16.</param>
    /// <param name="sourcePitch">Of a source pixel, in units of 8 values.</param>
    /// <param name="panelBytes">From one panel to the next.</param>
    /// <param name="panels">That there are from the tile's first on: beyond them are zeros.</param>
    /// <param name="channels">Of the source; a multiple of 8.</param>
    /// <param name="kernel">Width of the window.</param>
    /// <param name="position">Where to begin: the tap's x in bits 0-7, its y in bits 8-15, and above them its block among the tap's.</param>
    /// <param name="blocks">How many to multiply, at least one.</param>
    public static void Begin(
        int text, ulong source, ulong weights, int sourcePitch, int panelBytes, int panels, int channels, int kernel, int position, int blocks) =>
        throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    /// <param name="height">Of the source as the window sees it; of a pointwise contraction the tile's first row.</param>
    /// <param name="width">Of the same.</param>
    /// <param name="sourceWidth">Of the source as stored; 0 for a pointwise contraction.</param>
    /// <param name="heightRatio">Stored height by height, times 2^32 and rounded up; 0 where they are the same.</param>
    /// <param name="widthRatio">The same of the widths.</param>
    /// <param name="circular">Not 0 where the window sees the source again beyond its edges.</param>
    /// <param name="shared">Offset of shared memory for stages; a multiple of <see cref="ITensorLoop.StageAlignment"/>.</param>
    /// <param name="rows">
    /// Offset of shared memory that holds a <see cref="TensorWindow"/> for each row of the tile; written, with a barrier behind it, unless it is a pointwise contraction.
    /// </param>
    /// <param name="pixels">Of the result, over all items.</param>
    public static void Start(
        int text, int height, int width, int sourceWidth, uint heightRatio, uint widthRatio, int circular, uint shared, uint rows, int pixels) =>
        throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    public static void Run(int text) => throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    /// <param name="pass">Of <see cref="ITensorLoop.PassRows"/> rows: 0 for the tile's first ones.</param>
    /// <param name="shared">Offset of shared memory for their sums, with <see cref="TensorTileShape.SumsPitch"/>.</param>
    public static void StoreSums(int text, int pass, uint shared) => throw new NotSupportedException();

    /// <summary>Writes the texts. Before any kernel is compiled.</summary>
    internal static void Bind()
    {
        var text = default(TLoop).Text(TensorTileShape.Of<TTile>());
        var type = typeof(TensorMultiply<TTile, TLoop>);
        PtxCode.Bind(type.GetMethod(nameof(Begin))!, text.Begin);
        PtxCode.Bind(type.GetMethod(nameof(Start))!, text.Start);
        PtxCode.Bind(type.GetMethod(nameof(Run))!, text.Run);
        PtxCode.Bind(type.GetMethod(nameof(StoreSums))!, text.StoreSums);
    }
}

/// <summary>Where an output pixel's window begins.</summary>
internal struct TensorWindow
{
    /// <summary>The first source pixel of its item; -1 where there is no such output pixel.</summary>
    public int FirstPixel;

    /// <summary>y in the lower 16 bits, x in the upper; both may be negative.</summary>
    public int Origin;
}

/// <summary>Registers what kernels with PTX need.</summary>
internal static class TensorTexts
{
#pragma warning disable CA2255 // Remappings are global and must be there before the first kernel of any context is compiled.
    [ModuleInitializer]
#pragma warning restore CA2255
    internal static void Bind()
    {
        PtxCode.AllowAddressOf<ushort>();
        PtxCode.AllowAddressOf<TensorWindow>();
        PtxCode.AllowAddressOf<Float4>();
        TensorMultiply<SquareTile, WarpLoop>.Bind();
        TensorMultiply<SquareTile, ShortWarpLoop>.Bind();
        TensorMultiply<WideTile, WarpLoop>.Bind();
        TensorMultiply<WideTile, ShortWarpLoop>.Bind();
        TensorMultiply<LowTile, WarpLoop>.Bind();
        TensorMultiply<LowTile, ShortWarpLoop>.Bind();
        TensorMultiply<SmallTile, WarpLoop>.Bind();
        TensorMultiply<SmallTile, ShortWarpLoop>.Bind();
        TensorMultiply<TallTile, TuringLoop>.Bind();
        TensorMultiply<SmallTile, TuringLoop>.Bind();
        TensorMultiply<SquareTile, WarpgroupLoop>.Bind();
        TensorMultiply<WideTile, WarpgroupLoop>.Bind();
        TensorMultiply<TallTile, WarpgroupLoop>.Bind();
        TensorMultiply<NarrowTile, WarpgroupLoop>.Bind();
        TensorMultiply<SmallTile, WarpgroupLoop>.Bind();
        TensorMultiply<SquareTile, DeepWarpgroupLoop>.Bind();
        TensorMultiply<WideTile, DeepWarpgroupLoop>.Bind();
        TensorMultiply<TallTile, DeepWarpgroupLoop>.Bind();
        TensorMultiply<SquareTile, SpanLoop>.Bind();
        TensorMultiply<WideTile, SpanLoop>.Bind();
        TensorAttention.Bind();
    }
}
