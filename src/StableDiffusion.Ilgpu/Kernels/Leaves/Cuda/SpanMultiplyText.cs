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
/// a tap each. A block of this loop is 64 channels with all taps; within it sums go through the taps, top row first.
/// </para>
/// </summary>
internal sealed class SpanMultiplyText(TensorTileShape tile) : TensorText(tile, WarpgroupMultiplyText.Threads)
{
    public const int Taps = 9;

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

    /// <summary>Beside so many taps the next span is copied: those after them are waited for too late.</summary>
    private const int CopyingTaps = Taps + 1 - TapsAhead;

    private const int Sets = 3;

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

    private static int AlignedSpanBytes => (int)TensorTileShape.FirstStage(SpanBytes);

    private static int StageBytes(TensorTileShape tile) => tile.Panels * PanelBytes;

    public override string StoreSums() => WarpgroupMultiplyText.StoreSums(Shape);

    public override string Start()
    {
        var ptx = new PtxWriter();
        Declare(ptx);
        PrepareSpans(ptx);
        PreparePanels(ptx);
        PrepareFragments(ptx);
        ptx.Line("setp.eq.s32 goes, 0, 0;");
        for (var pass = 0; pass < Passes; pass++)
        {
            CopySpan(ptx, pass, "span", "goes");
        }

        for (var tap = 0; tap < TapsAhead; tap++)
        {
            CopyPanels(ptx, tap);
            ptx.Line("cp.async.commit_group;");
        }

        return ptx.ToString();
    }

    public override string Run()
    {
        var ptx = new PtxWriter();
        ZeroSums(ptx);
        ptx.Line("CHANNELS:");
        ptx.Line($"setp.gt.s32 goes, tm_left, 1; add.s64 tm_source, tm_source, {RowBytes};");
        for (var tap = 0; tap < Taps; tap++)
        {
            ptx.Line($"cp.async.wait_group {TapsAhead - 1}; fence.proxy.async.shared::cta; bar.sync 0;");
            if (tap == 0)
            {
                ReadFragments(ptx, tap);
            }

            Multiply(ptx, tap);
            if (tap + 1 < Taps)
            {
                ReadFragments(ptx, tap + 1);
            }

            if (tap + TapsAhead == Taps)
            {
                // From here on the panels are the next block's.
                ptx.Line($"add.s64 tm_weights, tm_weights, {PanelBytes};");
            }

            CopyPanels(ptx, (tap + TapsAhead) % Taps, tap + TapsAhead < Taps ? "" : "@goes ");
            for (var pass = tap; pass < Passes && tap < CopyingTaps; pass += CopyingTaps)
            {
                CopySpan(ptx, pass, "nextSpan", "goes");
            }

            ptx.Line("cp.async.commit_group;");
            ptx.Line("wgmma.wait_group.sync.aligned 1;");
        }

        ptx.Line("mov.b32 t, span; mov.b32 span, nextSpan; mov.b32 nextSpan, t;");
        ptx.Line("sub.s32 tm_left, tm_left, 1; setp.gt.s32 p, tm_left, 0; @p bra CHANNELS;");
        ptx.Line("wgmma.wait_group.sync.aligned 0; cp.async.wait_all;");
        return ptx.ToString();
    }

    private void Declare(PtxWriter ptx)
    {
        ptx.Line($".reg .b32 pixel<{Passes}>, line<3>, a<{Sets * Steps * 4}>, panelSize<{Shape.Panels}>, panelAt<{Shape.Panels}>;");
        ptx.Line(".reg .b32 tid, lane, chunk, row, height, width, pixels, rows, pitch, many, first, y, x, t, u, n, at, to, span, nextSpan, ring, copyStage, readStage, odd, size, seen;");
        ptx.Line(".reg .b64 from, base, panels, matrix; .reg .pred p, q, long, last, goes, adds;");
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
        for (var panel = 0; panel < Shape.Panels; panel++)
        {
            ptx.Line($"setp.gt.s32 p, tm_panels, {panel}; selp.b32 panelSize{panel}, 16, 0, p; mul.lo.s32 t, tm_panelBytes, {panel}; selp.b32 panelAt{panel}, t, 0, p;");
        }
    }

    /// <summary>
    /// Which row a lane names to <c>ldmatrix</c>: l % 16 of its warp's 16, and of each 16 channels half l / 16. <c>line</c> becomes its pixel's place in
    /// a span through the first tap of each row of the window, <c>seen</c> a bit for each tap that sees a pixel and not what is beyond an edge.
    /// </summary>
    private static void PrepareFragments(PtxWriter ptx)
    {
        ptx.Line("and.b32 lane, tid, 31; shr.u32 row, tid, 5; and.b32 t, lane, 15; mad.lo.s32 row, row, 16, t; shr.u32 odd, lane, 4;");
        ptx.Line("mad.lo.s32 t, row, 8, rows;");
        ReadWindow(ptx, "t");
        ptx.Line("mov.b32 seen, 0; setp.ge.s32 goes, first, 0;");
        for (var tap = 0; tap < Taps; tap++)
        {
            ptx.Line($"add.s32 t, y, {tap / 3}; setp.lt.and.u32 p, t, height, goes; add.s32 t, x, {tap % 3}; setp.lt.and.u32 p, t, width, p; @p or.b32 seen, seen, {1 << tap};");
        }

        ptx.Line("mov.b32 line0, row; add.s32 line1, row, pitch; add.s32 line2, line1, pitch;");

        // The first panel's descriptor, for all lanes of a warp the same.
        ptx.Line($"add.s32 t, span, {2 * AlignedSpanBytes}; shr.u32 t, t, 4; cvt.u64.u32 panels, t; or.b64 panels, panels, {WarpgroupMultiplyText.PanelLayout}; setp.eq.s32 adds, 0, 0;");
    }

    private static void CopySpan(PtxWriter ptx, int pass, string target, string predicate)
    {
        if (pass == Passes - 1)
        {
            ptx.Line($"and.pred q, {predicate}, last;");
            predicate = "q";
        }

        ptx.Line($"setp.ne.s32 p, pixel{pass}, -1; selp.b32 size, 16, 0, p; selp.b32 t, pixel{pass}, 0, p; mad.wide.u32 from, t, 16, tm_source; add.s32 at, {target}, to;");
        ptx.Line($"@{predicate} cp.async.cg.shared.global.L2::128B [at+{pass * PassPixels * RowBytes}], [from], 16, size;");
    }

    private void CopyPanels(PtxWriter ptx, int tap, string predicate = "")
    {
        ptx.Line($"mul.wide.u32 base, tm_channels, {tap * PanelRowBytes}; add.s64 base, base, tm_weights; add.s32 at, ring, copyStage;");
        for (var panel = 0; panel < Shape.Panels; panel++)
        {
            ptx.Line($"cvt.u64.u32 from, panelAt{panel}; add.s64 from, from, base; {predicate}cp.async.cg.shared.global.L2::128B [at+{panel * PanelBytes}], [from], 16, panelSize{panel};");
        }

        Next(ptx, "copyStage");
    }

    /// <summary>A tap's fragments of the span.</summary>
    private static void ReadFragments(PtxWriter ptx, int tap)
    {
        // Of eight rows' pixels, or zeros in their places, none lie on the same bank.
        ptx.Line($"add.s32 t, line{tap / 3}, {tap % 3}; and.b32 u, t, 7; add.s32 n, u, {FirstZero}; and.b32 x, seen, {1 << tap}; setp.ne.s32 p, x, 0; selp.b32 t, t, n, p;");
        ptx.Line($"xor.b32 u, u, odd; shl.b32 u, u, 4; mad.lo.s32 t, t, {RowBytes}, u; add.s32 t, t, span;");
        for (var step = 0; step < Steps; step++)
        {
            ptx.Line($"xor.b32 u, t, {step * 32}; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {Fragment(tap, step)}, [u];");
        }
    }

    /// <summary>Starts a tap's products.</summary>
    private void Multiply(PtxWriter ptx, int tap)
    {
        ptx.Line("shr.u32 t, readStage, 4; cvt.u64.u32 base, t; add.s64 base, base, panels; wgmma.fence.sync.aligned;");
        for (var step = 0; step < Steps; step++)
        {
            ptx.Line($"add.s64 matrix, base, {step * 16 * PanelRowBytes / 16};");
            ptx.Line(
                $"wgmma.mma_async.sync.aligned.m64n{Shape.Columns}k16.f32.f16.f16 {PtxWriter.Vector("tm_sum", 0, Sums)}, {Fragment(tap, step)}, matrix, adds, 1, 1, 1;");
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
        Next(ptx, "readStage");
    }

    private static string Fragment(int tap, int step) => PtxWriter.Vector("a", ((tap % Sets * Steps) + step) * 4, 4);

    private void Next(PtxWriter ptx, string stage) => ptx.Line(
        $"add.s32 {stage}, {stage}, {StageBytes(Shape)}; setp.eq.s32 p, {stage}, {Stages * StageBytes(Shape)}; selp.b32 {stage}, 0, {stage}, p;");
}
