using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>How a group multiplies. Kernels are compiled for each implementation.</summary>
internal interface ITensorLoop
{
    /// <summary>Channels of a block: what a stage holds, and what the loop multiplies at a time.</summary>
    int Depth { get; }

    /// <summary>Stages of shared memory that copies run ahead in.</summary>
    int Stages(TensorTileShape tile);

    /// <summary>Rows whose other summands a thread reads ahead after the loop, two or four: as far as there are registers.</summary>
    int RowsTogether { get; }

    TensorLoopText Text(TensorTileShape tile);
}

/// <summary><c>mma.sync</c>: every warp by itself.</summary>
internal struct WarpLoop : ITensorLoop
{
    public readonly int Depth => TensorMultiplyText.BlockDepth;

    public readonly int Stages(TensorTileShape tile) => 4;

    public readonly int RowsTogether => 2;

    public readonly TensorLoopText Text(TensorTileShape tile) => new TensorMultiplyText(tile, Stages(tile));
}

/// <summary>Hopper's <c>wgmma</c>: four warps together.</summary>
internal struct WarpgroupLoop : ITensorLoop
{
    public readonly int Depth => WarpgroupMultiplyText.BlockDepth;

    /// <summary>Two groups of large tiles fit a multiprocessor. Low tiles are taken where there are few: each then has one to itself.</summary>
    public readonly int Stages(TensorTileShape tile) => tile.Rows == 64 ? 5 : 3;

    public readonly int RowsTogether => 4;

    public readonly TensorLoopText Text(TensorTileShape tile) => new WarpgroupMultiplyText(tile, Stages(tile));
}

/// <summary>
/// The main loop of a contraction on tensor cores, as placeholders for the texts of <see cref="TensorLoopText"/>. A kernel calls
/// <see cref="Begin"/>, <see cref="Run"/>, and <see cref="StoreSums"/> for each pass of 64 rows, once in its code each.
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
    /// <param name="firstBlock">Where to begin, in blocks of some channels of one tap each.</param>
    /// <param name="blocks">How many to multiply, at least one.</param>
    public static void Begin(
        int text, ulong source, ulong weights, int sourcePitch, int panelBytes, int panels, int channels, int kernel, int firstBlock, int blocks) =>
        throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    /// <param name="height">Of the source as the window sees it.</param>
    /// <param name="width">Of the same.</param>
    /// <param name="sourceWidth">Of the source as stored.</param>
    /// <param name="heightRatio">Stored height by height, times 2^32 and rounded up; 0 where they are the same.</param>
    /// <param name="widthRatio">The same of the widths.</param>
    /// <param name="circular">Not 0 where the window sees the source again beyond its edges.</param>
    /// <param name="shared">Offset of shared memory for stages; a multiple of <see cref="TensorTileShape.StageAlignment"/>.</param>
    /// <param name="rows">Offset of shared memory that holds a <see cref="TensorWindow"/> for each row of the tile; written, with a barrier behind it.</param>
    public static void Run(
        int text, int height, int width, int sourceWidth, uint heightRatio, uint widthRatio, int circular, uint shared, uint rows) =>
        throw new NotSupportedException();

    /// <param name="text">The text's place.</param>
    /// <param name="pass">0 for the tile's first 64 rows, 1 for the others.</param>
    /// <param name="shared">Offset of shared memory for their sums, with <see cref="TensorTileShape.SumsPitch"/>.</param>
    public static void StoreSums(int text, int pass, uint shared) => throw new NotSupportedException();

    /// <summary>Writes the texts. Before any kernel is compiled.</summary>
    internal static void Bind()
    {
        var text = default(TLoop).Text(TensorTileShape.Of<TTile>());
        var type = typeof(TensorMultiply<TTile, TLoop>);
        PtxCode.Bind(type.GetMethod(nameof(Begin))!, text.Begin);
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
        BindTiles<WarpLoop>();
        BindTiles<WarpgroupLoop>();
        TensorAttention.Bind();
    }

    private static void BindTiles<TLoop>() where TLoop : struct, ITensorLoop
    {
        TensorMultiply<SquareTile, TLoop>.Bind();
        TensorMultiply<WideTile, TLoop>.Bind();
        TensorMultiply<LowTile, TLoop>.Bind();
        TensorMultiply<SmallTile, TLoop>.Bind();
    }
}
