namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// A 3x3 convolution's main loop for compute capability 9.0 alone, where the result is as large as the source: what all nine taps see of 64 channels is copied
/// once, and not once for each tap. Needs the target <c>sm_90a</c>.
/// <para>
/// The tile's 128 pixels follow each other in memory, and so do those that they see through one tap, but for the edges. So a span of pixels, from a line above
/// and one pixel before the first to a line below and one pixel behind the last, holds all; where lines are long, three spans of 130 pixels hold less. A warp
/// takes its rows' fragments from there by <c>ldmatrix</c>, with an address for each row, of zeros where a tap is beyond an edge.
/// <c>wgmma</c> multiplies them from registers, three sets in turn: one's products run, the next one's wait for their turn, the third is read.
/// </para>
/// <para>
/// There are two spans, the one that is multiplied and the next 64 channels', copied in parts beside the first taps, and a ring of stages for the panels of
/// a tap each. A block is 64 channels with all taps; within it sums go through the taps, top row first.
/// </para>
/// <para>
/// The loop's body is a row of the window, three taps: with all nine in it the assembler takes ten times as long, seconds for each kernel of a first load.
/// </para>
/// </summary>
internal sealed class SpanMultiplyText(TensorTileShape tile) : TensorText(tile, WarpgroupMultiplyText.Threads)
{
    public const int Taps = Side * Side;

    private const int Side = 3;

    private const int Depth = WarpgroupMultiplyText.BlockDepth;

    private const int RowBytes = Depth * sizeof(ushort);

    /// <summary>16 bytes each.</summary>
    private const int RowChunks = RowBytes / 16;

    /// <summary>Pixels of a line of the tile, with one beside each end.</summary>
    private const int LinePixels = 128 + 2;

    /// <summary>Behind all that there may be, eight pixels of zeros.</summary>
    private const int FirstZero = ((3 * LinePixels) + 7) / 8 * 8;

    private const int SpanPixels = FirstZero + 8;

    private const int SpanBytes = SpanPixels * RowBytes;

    /// <summary>Of the panels' ring: products of two taps may not have been waited for, the others' panels are on their way.</summary>
    private const int Stages = 6;

    private const int TapsAhead = Stages - 2;

    /// <summary>Rows beside whose taps panels of the same block are copied, but for the last of these taps.</summary>
    private const int OwnRows = (Taps - TapsAhead + 1) / Side;

    private static readonly string WhetherPanelsAreThere = $"setp.lt.or.s32 brings, done, {OwnRows}, goes;";

    /// <summary>Beside so many taps the next span is copied: its first pixels are read, for the first tap, before the last one's products end.</summary>
    private const int CopyingTaps = Taps - TapsAhead;

    /// <summary>Of fragments, one for each tap of a row.</summary>
    private const int Sets = Side;

    /// <summary>Fragments of 16 channels, four registers each.</summary>
    private const int Steps = Depth / 16;

    private const int PanelBytes = Depth * PanelRowBytes;

    /// <summary>Span pixels that the threads copy at a time.</summary>
    private const int PassPixels = WarpgroupMultiplyText.Threads / RowChunks;

    private const int Passes = (SpanPixels + PassPixels - 1) / PassPixels;

    /// <summary>Of shared memory: two spans and the ring.</summary>
    public static int CopiedBytes(TensorTileShape tile) => (2 * AlignedSpanBytes) + (Stages * StageBytes(tile));

    /// <summary>Source pixels that are copied for a tile, where a line has so many.</summary>
    public static int PixelsOf(int width) => width > LinePixels ? 3 * LinePixels : LinePixels + (2 * width);

    private static int AlignedSpanBytes => (int)TensorTileShape.Align(SpanBytes, TensorTileShape.SwizzleAlignment);

    private static int StageBytes(TensorTileShape tile) => tile.Panels * PanelBytes;

    public override string StoreSums() => WarpgroupMultiplyText.StoreSums(Shape);

    public override string Start()
    {
        var ptx = new PtxWriter();
        Declare(ptx);
        PrepareSpans(ptx);
        PreparePanels(ptx);
        PrepareFragments(ptx);
        for (var pass = 0; pass < Passes; pass++)
        {
            CopySpan(ptx, pass, "span");
        }

        for (var tap = 0; tap < TapsAhead; tap++)
        {
            CopyPanels(ptx);
            ptx.Line("cp.async.commit_group;");
        }

        return ptx.ToString();
    }

    public override string Run()
    {
        var ptx = new PtxWriter();
        ZeroSums(ptx);
        Meet(ptx);
        ptx.Line($"add.s64 tm_source, tm_source, {RowBytes}; mov.b32 look, line; mov.b32 sees, seen; mov.b32 done, 0;");
        ReadFragments(ptx, 0);
        ptx.Line("ROWS:");
        ptx.Line($"setp.gt.s32 goes, tm_left, 1; {WhetherPanelsAreThere}");
        for (var tap = 0; tap < Side; tap++)
        {
            Meet(ptx);
            Multiply(ptx, tap);
            if (tap + 1 < Side)
            {
                ReadFragments(ptx, tap + 1);
            }
            else
            {
                NextRow(ptx);
                ReadFragments(ptx, 0, "@q ");
            }

            CopyPanels(ptx, "@brings ");
            CopySpans(ptx, tap);
            ptx.Line("cp.async.commit_group;");
            ptx.Line("wgmma.wait_group.sync.aligned 1;");
        }

        ptx.Line("setp.gt.s32 p, tm_left, 0; @p bra ROWS;");
        ptx.Line("wgmma.wait_group.sync.aligned 0; cp.async.wait_all;");
        return ptx.ToString();
    }

    /// <summary>Behind it what was copied for the tap that is multiplied next is there, and what was copied beside the taps up to five before.</summary>
    private static void Meet(PtxWriter ptx) =>
        ptx.Line($"cp.async.wait_group {TapsAhead - 1}; fence.proxy.async.shared::cta; bar.sync 0;");

    /// <summary>
    /// Goes on to the window's next row, <c>done</c> of which have been multiplied then, or to the next block's first: <c>q</c> says whether there is one. The
    /// panels that are copied beside a row's last tap may be the next block's first.
    /// </summary>
    private static void NextRow(PtxWriter ptx)
    {
        ptx.Line($"add.s32 done, done, 1; add.s32 look, look, pitch; shr.u32 sees, sees, {Side}; {WhetherPanelsAreThere}");
        ptx.Line($"setp.eq.s32 p, done, {OwnRows}; @p add.s64 tm_weights, tm_weights, {PanelBytes}; @p mov.b64 base, tm_weights;");
        ptx.Line($"setp.eq.s32 q, done, {Side}; selp.b32 t, span, nextSpan, q; selp.b32 span, nextSpan, span, q; mov.b32 nextSpan, t;");
        ptx.Line($"@q mov.b32 look, line; @q mov.b32 sees, seen; @q mov.b32 done, 0; @q sub.s32 tm_left, tm_left, 1; @q add.s64 tm_source, tm_source, {RowBytes};");
        ptx.Line("setp.gt.s32 q, tm_left, 0;");
    }

    private void Declare(PtxWriter ptx)
    {
        ptx.Line($".reg .b32 pixel<{Passes}>, a<{Sets * Steps * 4}>, panelSize<{Shape.Panels}>, panelAt<{Shape.Panels}>;");
        ptx.Line(".reg .b32 tid, lane, chunk, row, height, width, pixels, rows, pitch, many, first, y, x, t, u, n, at, to, span, nextSpan, ring, copyStage, readStage, odd, size, line, look, seen, sees, done;");
        ptx.Line(".reg .b64 from, base, tapBytes, panels, matrix; .reg .pred p, q, long, last, goes, brings, adds;");
        ptx.Line("mov.b32 height, %0; mov.b32 width, %1; mov.b32 span, %6; mov.b32 rows, %7; mov.b32 pixels, %8; mov.u32 tid, %%tid.x;");
        ptx.Line($"add.s32 nextSpan, span, {AlignedSpanBytes}; add.s32 ring, span, {2 * AlignedSpanBytes}; mov.b32 copyStage, 0; mov.b32 readStage, 0;");
    }

    /// <summary>
    /// What each thread copies of a span: the same chunk of every 32nd pixel. <c>pixel</c> becomes where those are, in units of 16 bytes, or -1: beyond the source,
    /// and behind the span, there are zeros.
    /// </summary>
    private static void PrepareSpans(PtxWriter ptx)
    {
        ptx.Line($"setp.gt.s32 long, width, {LinePixels}; selp.b32 pitch, {LinePixels}, width, long;");
        ptx.Line($"shl.b32 many, width, 1; add.s32 many, many, {LinePixels}; selp.b32 many, {3 * LinePixels}, many, long;");

        // The tile's first pixel is there, and sees its own place from a line and a pixel before.
        ReadWindow(ptx, "rows");
        ptx.Line("mad.lo.s32 first, y, width, first; add.s32 first, first, x;");
        ptx.Line($"and.b32 chunk, tid, {RowChunks - 1}; shr.u32 row, tid, {int.Log2(RowChunks)}; and.b32 t, row, 7; xor.b32 t, t, chunk; shl.b32 t, t, 4;");
        ptx.Line($"mad.lo.s32 to, row, {RowBytes}, t; mul.wide.u32 from, chunk, 16; add.s64 tm_source, tm_source, from;");
        ptx.Line($"shr.u32 t, tm_position, 16; mul.wide.u32 from, t, {RowBytes}; add.s64 tm_source, tm_source, from; sub.s32 u, width, {LinePixels};");
        for (var pass = 0; pass < Passes; pass++)
        {
            ptx.Line($"add.s32 t, row, {pass * PassPixels}; setp.lt.s32 q, t, many; add.s32 n, first, t;");
            ptx.Line($"setp.ge.and.s32 p, t, {LinePixels}, long; @p add.s32 n, n, u; setp.ge.and.s32 p, t, {2 * LinePixels}, long; @p add.s32 n, n, u;");
            ptx.Line($"setp.lt.and.u32 q, n, pixels, q; mul.lo.s32 n, n, tm_pitch; selp.b32 pixel{pass}, n, -1, q;");
        }

        ptx.Line($"setp.lt.u32 last, row, {SpanPixels - ((Passes - 1) * PassPixels)};");
    }

    /// <summary>What each thread copies of a tap's panels: the same chunk of every panel's row. Panels that are not there become zeros.</summary>
    private void PreparePanels(PtxWriter ptx)
    {
        PlacePanelChunk(ptx, "tid", "t");
        ptx.Line("add.s32 ring, ring, t;");
        ptx.Line($"shr.u32 t, tm_position, 16; mul.wide.u32 from, t, {PanelBytes}; add.s64 tm_weights, tm_weights, from;");
        ptx.Line($"mov.b64 base, tm_weights; mul.wide.u32 tapBytes, tm_channels, {PanelRowBytes};");
        for (var panel = 0; panel < Shape.Panels; panel++)
        {
            ptx.Line($"setp.gt.s32 p, tm_panels, {panel}; selp.b32 panelSize{panel}, 16, 0, p; mul.lo.s32 t, tm_panelBytes, {panel}; selp.b32 panelAt{panel}, t, 0, p;");
        }
    }

    /// <summary>
    /// Which row a lane names to <c>ldmatrix</c>: l % 16 of its warp's 16, and of each 16 channels half l / 16. <c>line</c> becomes its pixel's place in
    /// a span through the window's first tap, <c>seen</c> a bit for each tap that sees a pixel and not what is beyond an edge.
    /// </summary>
    private static void PrepareFragments(PtxWriter ptx)
    {
        ptx.Line("and.b32 lane, tid, 31; shr.u32 row, tid, 5; and.b32 t, lane, 15; mad.lo.s32 row, row, 16, t; shr.u32 odd, lane, 4;");
        ptx.Line("mad.lo.s32 t, row, 8, rows;");
        ReadWindow(ptx, "t");
        ptx.Line("mov.b32 seen, 0; setp.ge.s32 goes, first, 0;");
        for (var tap = 0; tap < Taps; tap++)
        {
            ptx.Line($"add.s32 t, y, {tap / Side}; setp.lt.and.u32 p, t, height, goes; add.s32 t, x, {tap % Side}; setp.lt.and.u32 p, t, width, p; @p or.b32 seen, seen, {1 << tap};");
        }

        ptx.Line("mov.b32 line, row;");

        // The first panel's descriptor, for all lanes of a warp the same.
        ptx.Line($"add.s32 t, span, {2 * AlignedSpanBytes}; shr.u32 t, t, 4; cvt.u64.u32 panels, t; or.b64 panels, panels, {WarpgroupMultiplyText.PanelLayout}; setp.eq.s32 adds, 0, 0;");
    }

    /// <summary>The next span's parts that are copied beside this tap of a row.</summary>
    private static void CopySpans(PtxWriter ptx, int tap)
    {
        for (var row = 0; (row * Side) + tap < CopyingTaps; row++)
        {
            // Beside a row's last tap it counts as done.
            ptx.Line($"setp.ne.or.s32 p, done, {row + (tap / (Side - 1))}, !goes; @p bra COPIED{tap}{row};");
            for (var pass = (row * Side) + tap; pass < Passes; pass += CopyingTaps)
            {
                CopySpan(ptx, pass, "nextSpan");
            }

            ptx.Line($"COPIED{tap}{row}:");
        }
    }

    private static void CopySpan(PtxWriter ptx, int pass, string target)
    {
        ptx.Line($"setp.ne.s32 p, pixel{pass}, -1; selp.b32 size, 16, 0, p; selp.b32 t, pixel{pass}, 0, p; mad.wide.u32 from, t, 16, tm_source; add.s32 at, {target}, to;");
        ptx.Line($"{(pass == Passes - 1 ? "@last " : "")}cp.async.cg.shared.global.L2::128B [at+{pass * PassPixels * RowBytes}], [from], 16, size;");
    }

    /// <summary>The next tap's panels, which lie at <c>base</c>.</summary>
    private void CopyPanels(PtxWriter ptx, string predicate = "")
    {
        ptx.Line("add.s32 at, ring, copyStage;");
        for (var panel = 0; panel < Shape.Panels; panel++)
        {
            ptx.Line($"cvt.u64.u32 from, panelAt{panel}; add.s64 from, from, base; {predicate}cp.async.cg.shared.global.L2::128B [at+{panel * PanelBytes}], [from], 16, panelSize{panel};");
        }

        ptx.Line("add.s64 base, base, tapBytes;");
        Next(ptx, "copyStage");
    }

    /// <summary>Fragments of the span through a tap of the row <c>look</c>.</summary>
    private static void ReadFragments(PtxWriter ptx, int tap, string predicate = "")
    {
        // Of eight rows' pixels, or zeros in their places, none lie on the same bank.
        ptx.Line($"add.s32 t, look, {tap}; and.b32 u, t, 7; add.s32 n, u, {FirstZero}; and.b32 x, sees, {1 << tap}; setp.ne.s32 p, x, 0; selp.b32 t, t, n, p;");
        ptx.Line($"xor.b32 u, u, odd; shl.b32 u, u, 4; mad.lo.s32 t, t, {RowBytes}, u; add.s32 t, t, span;");
        for (var step = 0; step < Steps; step++)
        {
            ptx.Line($"xor.b32 u, t, {step * 32}; {predicate}ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Fragment(tap, step)}, [u];");
        }
    }

    /// <summary>Starts a tap's products.</summary>
    private void Multiply(PtxWriter ptx, int tap)
    {
        ptx.Line("shr.u32 t, readStage, 4; cvt.u64.u32 matrix, t; add.s64 matrix, matrix, panels; wgmma.fence.sync.aligned;");
        for (var step = 0; step < Steps; step++)
        {
            if (step > 0)
            {
                ptx.Line($"add.s64 matrix, matrix, {16 * PanelRowBytes / 16};");
            }

            ptx.Line(
                $"wgmma.mma_async.sync.aligned.m64n{Shape.Columns}k16.f32.f16.f16 {PtxWriter.Vector("tm_sum", 0, Sums)}, {Fragment(tap, step)}, matrix, adds, 1, 1, 1;");
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
        Next(ptx, "readStage");
    }

    private static string Fragment(int tap, int step) => PtxWriter.Vector("a", ((tap * Steps) + step) * 4, 4);

    private void Next(PtxWriter ptx, string stage) => ptx.Line(
        $"add.s32 {stage}, {stage}, {StageBytes(Shape)}; setp.eq.s32 p, {stage}, {Stages * StageBytes(Shape)}; selp.b32 {stage}, 0, {stage}, p;");
}
