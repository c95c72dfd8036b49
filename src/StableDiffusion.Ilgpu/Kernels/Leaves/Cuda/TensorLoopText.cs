namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX of a contraction's main loop, without its products: <c>cp.async</c> copies blocks of source and weights to a ring of stages in shared memory.
/// <para>
/// A block is 32 or 64 channels of one tap. A stage holds the tile's source rows with these channels, of 64 or 128 bytes, then the panels, a row of 32
/// columns for each channel, of 64 bytes, all as they lie in memory. Within a row, chunks of 16 bytes are exchanged, so that eight rows' chunks fall on
/// different banks, whether they are copied or read: chunk c of row r is stored at c ^ (r / 2 % 4), and of 128 bytes at c ^ (r % 8). It is what NVIDIA calls
/// a swizzle of 64 or 128 bytes, where stages begin at multiples of 1024.
/// </para>
/// <para>
/// Source pixels are found again at each tap, from the table of rows, which a pointwise contraction does not need, and are kept as 32-bit distances in units of 16 bytes. Pixels, channels and panels
/// that are not there are filled with zeros by the copy itself. Depth is summed in the same order whatever the tile.
/// </para>
/// </summary>
/// <param name="tile">The tile.</param>
/// <param name="threads">Of a group.</param>
/// <param name="depth">Channels of a block: 32 or 64.</param>
/// <param name="stages">How many there are.</param>
/// <param name="throughRegisters">
/// Whether threads load a block into registers, zeros for what is not there, and store it before the barrier that all wait for, with a block's products in between: for
/// GPUs without <c>cp.async</c>. Two stages are all that this can fill.
/// </param>
internal abstract class TensorLoopText(TensorTileShape tile, int threads, int depth, int stages, bool throughRegisters = false) : TensorText(tile, threads)
{
    private readonly int stageBytes = tile.StageBytes(depth);

    protected int Stages => stages;

    protected int Depth => depth;

    protected bool ThroughRegisters => throughRegisters;

    /// <summary>Of a source row.</summary>
    protected int RowBytes => depth * sizeof(ushort);

    /// <summary>All of a tile's source rows.</summary>
    protected int SourceBytes => Shape.Rows * RowBytes;

    protected int PanelBytes => depth * PanelRowBytes;

    /// <summary>Bytes that the threads copy at a time, 16 each.</summary>
    private int PassBytes => 16 * GroupThreads;

    /// <summary>Panel rows that the threads copy at a time.</summary>
    private int PanelPassRows => PassBytes / PanelRowBytes;

    private int RowChunks => RowBytes / 16;

    private int SourcePasses => SourceBytes / PassBytes;

    private int PanelPasses => depth / PanelPassRows;

    protected void DeclareCopies(PtxWriter ptx)
    {
        ptx.Line($".reg .b32 pixel<{SourcePasses}>;");
        ptx.Line(".reg .b32 lane, chunk, row, height, width, sourceWidth, heightRatio, widthRatio, rowAt, copySource, copyPanel, copyStage, readStage, blocks, count;");
        ptx.Line(".reg .b32 channel, tapBase, tapX, tapY, first, y, x, t, u, n, to;");
        ptx.Line(".reg .b64 from, base; .reg .pred p, q, inside, taller, wider, wraps;");
        if (throughRegisters)
        {
            ptx.Line($".reg .b32 held<{4 * (SourcePasses + (PanelPasses * Shape.Panels))}>, heldSource, heldPanel; .reg .pred holds;");
        }
    }

    /// <summary>
    /// What each thread copies: a chunk of a source row, and of the rows a pass below it, as far as they go; likewise of a panel's row, and of every panel.
    /// </summary>
    protected void PrepareCopies(PtxWriter ptx)
    {
        ptx.Line("mov.b32 height, %0; mov.b32 width, %1; mov.b32 sourceWidth, %2; mov.b32 heightRatio, %3; mov.b32 widthRatio, %4; setp.ne.u32 taller, heightRatio, 0; setp.ne.u32 wider, widthRatio, 0; setp.ne.s32 wraps, %5, 0;");
        ptx.Line($"mov.u32 lane, %%tid.x; and.b32 chunk, lane, {RowChunks - 1}; shr.u32 row, lane, {int.Log2(RowChunks)}; mad.lo.s32 rowAt, row, 8, %7;");
        ptx.Line(RowChunks == 4 ? "shr.u32 t, row, 1; and.b32 t, t, 3;" : "and.b32 t, row, 7;");
        ptx.Line($"xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 copySource, row, {RowBytes}, t; add.s32 copySource, copySource, %6;");
        ptx.Line("mul.wide.u32 from, chunk, 16; add.s64 tm_source, tm_source, from;");
        PlacePanelChunk(ptx, "lane", "copyPanel");
        ptx.Line($"add.s32 copyPanel, copyPanel, %6; add.s32 copyPanel, copyPanel, {SourceBytes};");

        // The first block's tap and channel.
        ptx.Line($"shr.u32 channel, tm_position, 16; mul.lo.s32 channel, channel, {depth}; and.b32 tapX, tm_position, 255; shr.u32 tapY, tm_position, 8; and.b32 tapY, tapY, 255;");
        ptx.Line($"mad.lo.s32 tapBase, tapY, tm_kernel, tapX; mul.lo.s32 tapBase, tapBase, tm_channels; mul.lo.s32 tapBase, tapBase, {PanelRowBytes};");
        ptx.Line("mov.b32 blocks, tm_left; mov.b32 copyStage, 0; mov.b32 readStage, 0;");
        ptx.Line("setp.ne.s32 p, sourceWidth, 0; @p bra WINDOWS;");
        FindRows(ptx);
        ptx.Line("bra FOUND;");
        ptx.Line("WINDOWS:");
        FindPixels(ptx);
        ptx.Line("FOUND:");
    }

    /// <summary>Copies the first blocks.</summary>
    protected void Fill(PtxWriter ptx, int count)
    {
        ptx.Line($"mov.b32 count, {count};");
        ptx.Line("FILL:");
        Load(ptx, "FILL");
        ptx.Line("sub.s32 count, count, 1; setp.gt.s32 p, count, 0; @p bra FILL;");
    }

    /// <summary>Of a pointwise contraction: every row sees the source's row with its number.</summary>
    private void FindRows(PtxWriter ptx)
    {
        ptx.Line($"shr.u32 row, lane, {int.Log2(RowChunks)}; add.s32 row, row, height;");
        for (var i = 0; i < SourcePasses; i++)
        {
            ptx.Line($"add.s32 t, row, {i * (PassBytes / RowBytes)}; setp.lt.s32 inside, t, %8; mul.lo.s32 t, t, tm_pitch; selp.b32 pixel{i}, t, -1, inside;");
        }
    }

    /// <summary>The source pixels that the thread's rows see through the current tap; -1 for those that see zeros.</summary>
    private void FindPixels(PtxWriter ptx)
    {
        for (var i = 0; i < SourcePasses; i++)
        {
            ReadWindow(ptx, $"rowAt+{i * (PassBytes / RowBytes) * 8}");
            ptx.Line("add.s32 x, x, tapX; add.s32 y, y, tapY;");
            Wrap(ptx, "y", "height");
            Wrap(ptx, "x", "width");
            ptx.Line("setp.ge.s32 inside, first, 0; setp.lt.and.u32 inside, y, height, inside; setp.lt.and.u32 inside, x, width, inside;");
            ptx.Line("mul.hi.u32 t, y, heightRatio; selp.b32 y, t, y, taller; mul.hi.u32 t, x, widthRatio; selp.b32 x, t, x, wider;");
            ptx.Line("mad.lo.s32 t, y, sourceWidth, x; add.s32 t, t, first; mul.lo.s32 t, t, tm_pitch;");
            ptx.Line($"selp.b32 pixel{i}, t, -1, inside;");
        }
    }

    private static void Wrap(PtxWriter ptx, string position, string size)
    {
        ptx.Line($"setp.lt.and.s32 p, {position}, 0, wraps; @p add.s32 {position}, {position}, {size};");
        ptx.Line($"setp.ge.and.s32 p, {position}, {size}, wraps; @p sub.s32 {position}, {position}, {size};");
    }

    /// <summary>
    /// Copies the next block to its stage, or nothing when none is left; either way <see cref="WaitForBlock"/> can wait for it. All that leads to the next tap
    /// is left out behind the last block: of a short contraction's few blocks, most are loaded before the first product.
    /// </summary>
    protected void Load(PtxWriter ptx, string label)
    {
        if (throughRegisters)
        {
            ptx.Line("setp.gt.s32 holds, tm_left, 0; add.s32 heldSource, copySource, copyStage; add.s32 heldPanel, copyPanel, copyStage;");
        }

        ptx.Line($"setp.le.s32 p, tm_left, 0; @p bra {label}_LOADED;");
        ptx.Line("add.s32 to, copySource, copyStage;");
        ptx.Line($"mov.u32 t, %%tid.x; and.b32 t, t, {RowChunks - 1}; mad.lo.s32 t, t, 8, channel; setp.lt.s32 p, t, tm_channels;");
        ptx.Line("mul.wide.u32 base, channel, 2; add.s64 base, base, tm_source;");
        for (var i = 0; i < SourcePasses; i++)
        {
            ptx.Line($"setp.ne.and.s32 q, pixel{i}, -1, p; selp.b32 n, 16, 0, q; selp.b32 t, pixel{i}, 0, q; mad.wide.u32 from, t, 16, base;");
            Copy(ptx, i, SourcePlace(i));
        }

        ptx.Line("add.s32 to, copyPanel, copyStage;");
        for (var pass = 0; pass < PanelPasses; pass++)
        {
            var row = pass * PanelPassRows;
            ptx.Line($"mov.u32 t, %%tid.x; shr.u32 t, t, 2; add.s32 t, t, channel; add.s32 t, t, {row}; setp.lt.s32 p, t, tm_channels;");
            ptx.Line($"mad.lo.s32 u, channel, {PanelRowBytes}, tapBase; add.s32 u, u, {row * PanelRowBytes};");
            for (var panel = 0; panel < Shape.Panels; panel++)
            {
                ptx.Line($"setp.gt.and.s32 q, tm_panels, {panel}, p; selp.b32 n, 16, 0, q; selp.b32 t, u, 0, q; cvt.u64.u32 from, t; add.s64 from, from, tm_weights;");
                Copy(ptx, PanelCopy(pass, panel), PanelPlace(pass, panel));
                ptx.Line("add.s32 u, u, tm_panelBytes;");
            }
        }

        ptx.Line($"add.s32 copyStage, copyStage, {stageBytes}; setp.eq.s32 p, copyStage, {stages * stageBytes}; selp.b32 copyStage, 0, copyStage, p;");
        ptx.Line($"sub.s32 tm_left, tm_left, 1; add.s32 channel, channel, {depth};");
        ptx.Line($"setp.le.s32 p, tm_left, 0; setp.lt.or.s32 p, channel, tm_channels, p; @p bra {label}_LOADED;");
        ptx.Line($"mov.b32 channel, 0; mad.lo.s32 tapBase, tm_channels, {PanelRowBytes}, tapBase;");
        ptx.Line("add.s32 tapX, tapX, 1; setp.eq.s32 p, tapX, tm_kernel; selp.b32 tapX, 0, tapX, p; @p add.s32 tapY, tapY, 1;");
        FindPixels(ptx);
        ptx.Line($"{label}_LOADED:");
        if (!throughRegisters)
        {
            ptx.Line("cp.async.commit_group;");
        }
    }

    /// <summary>When the next block is there, for all of the group.</summary>
    protected void WaitForBlock(PtxWriter ptx)
    {
        if (throughRegisters)
        {
            StoreHeld(ptx);
        }
        else
        {
            ptx.Line($"cp.async.wait_group {stages - 2};");
        }

        ptx.Line("bar.sync 0;");
    }

    /// <summary>A thread's copy from <c>from</c>, or zeros where <c>q</c> is not set and <c>n</c> is 0.</summary>
    private void Copy(PtxWriter ptx, int copy, int place)
    {
        if (throughRegisters)
        {
            var held = PtxWriter.Vector("held", copy * 4, 4);
            ptx.Line(string.Concat(Enumerable.Range(copy * 4, 4).Select(i => $"mov.b32 held{i}, 0; ")) + $"@q ld.global.v4.b32 {held}, [from];");
        }
        else
        {
            ptx.Line($"cp.async.cg.shared.global.L2::128B [to+{place}], [from], 16, n;");
        }
    }

    private void StoreHeld(PtxWriter ptx)
    {
        for (var i = 0; i < SourcePasses; i++)
        {
            Store("heldSource", i, SourcePlace(i));
        }

        for (var pass = 0; pass < PanelPasses; pass++)
        {
            for (var panel = 0; panel < Shape.Panels; panel++)
            {
                Store("heldPanel", PanelCopy(pass, panel), PanelPlace(pass, panel));
            }
        }

        void Store(string first, int copy, int place) => ptx.Line($"@holds st.shared.v4.b32 [{first}+{place}], {PtxWriter.Vector("held", copy * 4, 4)};");
    }

    /// <summary>The copy's number, among a thread's of a block.</summary>
    private int PanelCopy(int pass, int panel) => SourcePasses + (pass * Shape.Panels) + panel;

    /// <summary>From the thread's first source row in a stage.</summary>
    private int SourcePlace(int pass) => pass * PassBytes;

    /// <summary>From the thread's first panel row in a stage.</summary>
    private int PanelPlace(int pass, int panel) => (panel * PanelBytes) + (pass * PanelPassRows * PanelRowBytes);

    protected void NextStage(PtxWriter ptx) => ptx.Line(
        $"add.s32 readStage, readStage, {stageBytes}; setp.eq.s32 p, readStage, {stages * stageBytes}; selp.b32 readStage, 0, readStage, p;");

    /// <summary>Back to the label <c>BLOCK</c> as long as blocks are left.</summary>
    protected void EndBlocks(PtxWriter ptx)
    {
        ptx.Line("sub.s32 blocks, blocks, 1; setp.gt.s32 p, blocks, 0; @p bra BLOCK;");
        if (!throughRegisters)
        {
            ptx.Line("cp.async.wait_all;");
        }
    }
}
