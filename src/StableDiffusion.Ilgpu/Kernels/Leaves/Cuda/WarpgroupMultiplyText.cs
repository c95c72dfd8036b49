namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// Products for compute capability 9.0 alone: <c>wgmma</c> multiplies straight from shared memory, 64 rows by all of the tile's columns at a time, for the
/// group's four warps together, while they copy. Needs the target <c>sm_90a</c>.
/// <para>
/// One block's products run while the next block is waited for: they have left a stage two blocks later, when all warps have passed a barrier since. Copies
/// run ahead by two stages less than there are.
/// </para>
/// <para>
/// The assembler lets products run side by side only where it sees that nothing else touches their sums: hence sums that begin with zeros, and not with a
/// first product that adds to nothing.
/// </para>
/// </summary>
internal sealed class WarpgroupMultiplyText(TensorTileShape tile, int stages) : TensorLoopText(tile, stages)
{
    /// <summary>Rows of one instruction.</summary>
    private const int InstructionRows = 64;

    /// <summary>From eight rows (of the source, or of a panel) to the next eight.</summary>
    private const int EightRowBytes = 8 * TensorTileShape.RowBytes;

    /// <summary>What both descriptors have: a swizzle of 64 bytes, and <see cref="EightRowBytes"/>.</summary>
    private const ulong Layout = (2UL << 62) | ((ulong)(EightRowBytes / 16) << 32);

    /// <summary>The source's rows hold their depth without a gap, so the other distance does not count.</summary>
    private const ulong SourceLayout = Layout | (1UL << 16);

    /// <summary>The panels' rows hold columns; 32 columns further lies the next panel.</summary>
    private const ulong PanelLayout = Layout | ((ulong)(PassBytes / 16) << 16);

    private readonly int instructions = tile.Rows / InstructionRows;

    private readonly int sums = tile.Columns / 2;

    public override string Run()
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        DeclareCopies(ptx);
        ptx.Line(".reg .b64 source, panels, at, from16; .reg .pred adds;");
        PrepareCopies(ptx);
        ptx.Line($"shr.u32 t, %6, 4; cvt.u64.u32 at, t; or.b64 source, at, {Literal(SourceLayout)};");
        ptx.Line($"add.s64 at, at, {Shape.Rows * TensorTileShape.RowBytes / 16}; or.b64 panels, at, {Literal(PanelLayout)}; setp.eq.s32 adds, 0, 0;");
        ZeroSums(ptx);
        Fill(ptx, Stages - 2);
        ptx.Line("BLOCK:");
        ptx.Line($"cp.async.wait_group {Stages - 3}; fence.proxy.async.shared::cta; bar.sync 0;");
        Multiply(ptx);
        Load(ptx, "BLOCK");
        ptx.Line("wgmma.wait_group.sync.aligned 1;");
        NextStage(ptx);
        ptx.Line("sub.s32 blocks, blocks, 1; setp.gt.s32 p, blocks, 0; @p bra BLOCK;");
        ptx.Line("wgmma.wait_group.sync.aligned 0; cp.async.wait_all;");
        ptx.Line("}");
        return ptx.ToString();
    }

    /// <summary>Warp w has rows 16 w and on of each 64; lane l, of each 8 columns, two from (l % 4) * 2 on, in row l / 4 and 8 rows below.</summary>
    public override string StoreSums()
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        ptx.Line(".reg .b32 lane, row, at, t; .reg .pred p;");
        ptx.Line("mov.u32 lane, %%tid.x; shr.u32 row, lane, 5; and.b32 lane, lane, 31; shr.u32 t, lane, 2; mad.lo.s32 row, row, 16, t;");
        ptx.Line($"and.b32 t, lane, 3; shl.b32 t, t, 1; mad.lo.s32 at, row, {Shape.SumsPitch}, t; mad.lo.s32 at, at, 4, %1;");
        for (var i = 0; i < instructions; i++)
        {
            ptx.Line($"setp.eq.s32 p, %0, {i};");
            for (var j = 0; j < sums; j += 2)
            {
                var offset = 4 * ((j / 2 % 2 * 8 * Shape.SumsPitch) + (j / 4 * 8));
                ptx.Line($"@p st.shared.v2.f32 [at+{offset}], {PtxWriter.Vector("tm_sum", (i * sums) + j, 2)};");
            }
        }

        ptx.Line("}");
        return ptx.ToString();
    }

    /// <summary>Starts a block's products. Its depth is two steps of 16: 32 bytes of a source row, and 16 rows of a panel.</summary>
    private void Multiply(PtxWriter ptx)
    {
        ptx.Line("shr.u32 t, readStage, 4; cvt.u64.u32 from16, t; wgmma.fence.sync.aligned;");
        for (var step = 0; step < TensorTileShape.Depth / 16; step++)
        {
            for (var i = 0; i < instructions; i++)
            {
                var (down, across) = (((i * InstructionRows * TensorTileShape.RowBytes) + (step * 32)) / 16, step * 16 * TensorTileShape.RowBytes / 16);
                ptx.Line("{ .reg .b64 a, b;");
                ptx.Line($"add.s64 a, source, from16; add.s64 a, a, {down}; add.s64 b, panels, from16; add.s64 b, b, {across};");
                ptx.Line(
                    $"wgmma.mma_async.sync.aligned.m64n{Shape.Columns}k16.f32.f16.f16 {PtxWriter.Vector("tm_sum", i * sums, sums)}, a, b, adds, 1, 1, 0, 1;");
                ptx.Line("}");
            }
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
    }

    private static string Literal(ulong value) => $"0x{value:x16}";
}
