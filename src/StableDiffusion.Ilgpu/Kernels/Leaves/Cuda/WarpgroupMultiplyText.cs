namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// Products for compute capability 9.0 alone: <c>wgmma</c> multiplies straight from shared memory, for four warps together, while they copy. The first
/// four of the group's eight warps have the first 64 of 128 rows, the others the second, or of 64 rows half of the columns each. Needs the target
/// <c>sm_90a</c>.
/// <para>
/// A block is 64 channels, so that source rows are whole lines of 128 bytes: the L2 cache takes as long for half a line. The stage that a block leaves is
/// filled again when all warps have passed the next barrier.
/// </para>
/// <para>
/// The assembler lets products run side by side only where it sees that nothing else touches their sums: hence sums that begin with zeros, and not with a
/// first product that adds to nothing.
/// </para>
/// </summary>
internal sealed class WarpgroupMultiplyText(TensorTileShape tile, int stages) : TensorLoopText(tile, Threads, BlockDepth, stages)
{
    public const int Threads = 2 * WarpgroupThreads;

    public const int BlockDepth = 64;

    private const int WarpgroupThreads = 128;

    /// <summary>Rows of one instruction.</summary>
    private const int InstructionRows = 64;

    /// <summary>Depth of one instruction.</summary>
    private const int InstructionDepth = 16;

    private const ulong Swizzle128 = 1UL << 62;

    private const ulong Swizzle64 = 2UL << 62;

    private bool HalvesRows => Halves(Shape);

    /// <summary>Of a warpgroup.</summary>
    private int Columns => ColumnsOf(Shape);

    /// <summary>
    /// A descriptor's, without an address. Source rows hold their depth without a gap, so that the first distance does not count; the second leads to the
    /// next eight rows.
    /// </summary>
    public static string SourceLayout => Literal(Swizzle128 | Distances(16, 8 * BlockDepth * sizeof(ushort)));

    public override string Start()
    {
        var ptx = new PtxWriter();
        DeclareCopies(ptx);
        ptx.Line(".reg .b64 source, panels, at, from16, second; .reg .pred adds;");
        PrepareCopies(ptx);
        ptx.Line($"shr.u32 t, %6, 4; cvt.u64.u32 at, t; or.b64 source, at, {SourceLayout};");
        ptx.Line($"add.s64 at, at, {SourceBytes / 16}; or.b64 panels, at, {PanelLayout}; setp.eq.s32 adds, 0, 0;");

        // All lanes of a warp must be seen to have the same descriptor.
        ptx.Line("shr.u32 t, lane, 7; shfl.sync.idx.b32 t, t, 0, 31, 0xFFFFFFFF; cvt.u64.u32 second, t;");
        ptx.Line(HalvesRows ? $"mad.lo.s64 source, second, {InstructionRows * RowBytes / 16}, source;" : $"mad.lo.s64 panels, second, {Shape.Panels / 2 * PanelBytes / 16}, panels;");
        Fill(ptx, Stages - 1);
        return ptx.ToString();
    }

    public override string Run()
    {
        var ptx = new PtxWriter();
        ZeroSums(ptx);
        ptx.Line("BLOCK:");
        ptx.Line($"cp.async.wait_group {Stages - 2}; fence.proxy.async.shared::cta; bar.sync 0;");
        Multiply(ptx);
        Load(ptx, "BLOCK");
        ptx.Line("wgmma.wait_group.sync.aligned 0;");
        NextStage(ptx);
        EndBlocks(ptx);
        return ptx.ToString();
    }

    public override string StoreSums() => StoreSums(Shape);

    /// <summary>Warp w has rows 16 w and on of its 64; lane l, of each 8 columns, two from (l % 4) * 2 on, in row l / 4 and 8 rows below.</summary>
    public static string StoreSums(TensorTileShape tile)
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        ptx.Line(".reg .b32 lane, warp, row, at, t;");
        ptx.Line("mov.u32 lane, %%tid.x; shr.u32 warp, lane, 5; and.b32 lane, lane, 31; shr.u32 t, lane, 2;");
        ptx.Line(Halves(tile) ? "mad.lo.s32 row, warp, 16, t;" : "and.b32 row, warp, 3; mad.lo.s32 row, row, 16, t;");
        ptx.Line($"and.b32 t, lane, 3; shl.b32 t, t, 1; mad.lo.s32 at, row, {tile.SumsPitch}, t;");
        if (!Halves(tile))
        {
            ptx.Line($"shr.u32 t, warp, 2; mad.lo.s32 at, t, {ColumnsOf(tile)}, at;");
        }

        ptx.Line("mad.lo.s32 at, at, 4, %1;");
        for (var i = 0; i < tile.Rows * tile.Columns / Threads; i += 2)
        {
            var offset = 4 * ((i / 2 % 2 * 8 * tile.SumsPitch) + (i / 4 * 8));
            ptx.Line($"st.shared.v2.f32 [at+{offset}], {PtxWriter.Vector("tm_sum", i, 2)};");
        }

        ptx.Line("}");
        return ptx.ToString();
    }

    /// <summary>
    /// A descriptor's, without an address, for panels of a block. Their rows hold columns: 32 columns further lies the next panel, eight of the depth further the
    /// next eight rows.
    /// </summary>
    public static string PanelLayout => Literal(Swizzle64 | Distances(BlockDepth * PanelRowBytes, 8 * PanelRowBytes));

    /// <summary>Whether the warpgroups have half of the rows each, and not of the columns.</summary>
    private static bool Halves(TensorTileShape tile) => tile.Rows == 2 * InstructionRows;

    private static int ColumnsOf(TensorTileShape tile) => Halves(tile) ? tile.Columns : tile.Columns / 2;

    /// <summary>Starts a block's products.</summary>
    private void Multiply(PtxWriter ptx)
    {
        ptx.Line("shr.u32 t, readStage, 4; cvt.u64.u32 from16, t; wgmma.fence.sync.aligned;");
        for (var step = 0; step < Depth; step += InstructionDepth)
        {
            ptx.Line("{ .reg .b64 a, b;");
            ptx.Line(
                $"add.s64 a, source, from16; add.s64 a, a, {step * sizeof(ushort) / 16}; add.s64 b, panels, from16; add.s64 b, b, {step * PanelRowBytes / 16};");
            ptx.Line($"wgmma.mma_async.sync.aligned.m64n{Columns}k16.f32.f16.f16 {PtxWriter.Vector("tm_sum", 0, Sums)}, a, b, adds, 1, 1, 0, 1;");
            ptx.Line("}");
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
    }

    private static ulong Distances(int leading, int stride) => ((ulong)(leading / 16) << 16) | ((ulong)(stride / 16) << 32);

    private static string Literal(ulong value) => $"0x{value:x16}";
}
