namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX of a contraction's main loop for compute capability 8.0 and later: <c>cp.async</c> copies blocks of source and weights to a ring of
/// stages in shared memory, <c>ldmatrix</c> takes fragments from there, <c>mma.sync.m16n8k16</c> multiplies fp16 and adds in fp32.
/// <para>
/// A stage holds the tile's source rows, 32 channels of one tap each, then the panels, 32 rows of 32 columns each, as they lie in memory. All these
/// rows have 64 bytes: four chunks of 16. Chunk c of row r is stored at c ^ (r / 2 % 4), so that eight rows' chunks fall on different banks,
/// whether they are copied or read.
/// </para>
/// <para>
/// Source pixels are found again at each tap, from the table of rows, and are kept as 32-bit distances in units of 16 bytes. Pixels, channels and panels
/// that are not there are filled with zeros by the copy itself. Depth is summed in the same order whatever the tile.
/// </para>
/// </summary>
internal sealed class TensorMultiplyText(TensorTileShape tile)
{
    private const int Rows16 = 16 * TensorTileShape.RowBytes;

    /// <summary>Bytes of the 32 rows that the threads copy at a time, and of a panel.</summary>
    private const int PassBytes = 32 * TensorTileShape.RowBytes;

    /// <summary>Tiles of the matrix instruction in a warp's rows and columns.</summary>
    private readonly int tilesDown = tile.WarpRows / 16;

    private readonly int tilesAcross = tile.WarpColumns / 8;

    private readonly int sourcePasses = tile.Rows / 32;

    /// <summary>
    /// Fragments of the next part are read while one is multiplied, over the ends of blocks too; where there are registers for them.
    /// </summary>
    private readonly bool ahead = tile.WarpRows * tile.WarpColumns <= 64 * 64;

    /// <summary>Registers that the other texts see.</summary>
    public string Begin()
    {
        var ptx = new PtxWriter();
        ptx.Line($".reg .f32 tm_sum<{tilesDown * tilesAcross * 4}>;");
        ptx.Line(".reg .b64 tm_source, tm_weights;");
        ptx.Line(".reg .b32 tm_pitch, tm_panelBytes, tm_panels, tm_channels, tm_kernel, tm_block, tm_left;");
        ptx.Line("mov.b64 tm_source, %0; mov.b64 tm_weights, %1; mov.b32 tm_pitch, %2; mov.b32 tm_panelBytes, %3; mov.b32 tm_panels, %4;");
        ptx.Line("mov.b32 tm_channels, %5; mov.b32 tm_kernel, %6; mov.b32 tm_block, %7; mov.b32 tm_left, %8;");
        return ptx.ToString();
    }

    public string Run()
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        Declare(ptx);
        Prepare(ptx);
        PrepareFragments(ptx);

        ptx.Line($"mov.b32 count, {TensorTileShape.Stages - 1};");
        ptx.Line("FILL:");
        Load(ptx, "FILL");
        ptx.Line("sub.s32 count, count, 1; setp.gt.s32 p, count, 0; @p bra FILL;");
        if (ahead)
        {
            ptx.Line($"cp.async.wait_group {TensorTileShape.Stages - 2}; bar.sync 0;");
            ReadFragments(ptx, 0);
        }

        // A stage is filled again after the barrier that all warps reach when they have read the last of it.
        ptx.Line("BLOCK:");
        if (ahead)
        {
            Load(ptx, "BLOCK");
            ReadFragments(ptx, 1);
            Multiply(ptx, 0);
            NextStage(ptx);
            ptx.Line($"cp.async.wait_group {TensorTileShape.Stages - 2}; bar.sync 0;");
            ReadFragments(ptx, 0);
            Multiply(ptx, 1);
        }
        else
        {
            ptx.Line($"cp.async.wait_group {TensorTileShape.Stages - 2}; bar.sync 0;");
            Load(ptx, "BLOCK");
            ReadFragments(ptx, 0);
            Multiply(ptx, 0);
            ReadFragments(ptx, 1);
            Multiply(ptx, 1);
            NextStage(ptx);
        }

        ptx.Line("sub.s32 blocks, blocks, 1; setp.gt.s32 p, blocks, 0; @p bra BLOCK;");
        ptx.Line("cp.async.wait_all;");
        ptx.Line("}");
        return ptx.ToString();
    }

    /// <summary>Lane l has, of each 16 x 8 tile, two columns from (l % 4) * 2 on, in row l / 4 and 8 rows below.</summary>
    public string StoreSums()
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        ptx.Line(".reg .b32 lane, warp, half, at, t; .reg .pred p;");
        ptx.Line("mov.u32 lane, %%tid.x; shr.u32 warp, lane, 5; and.b32 lane, lane, 31;");
        ptx.Line("shr.u32 half, warp, 1; setp.eq.s32 p, half, %0;");
        ptx.Line($"and.b32 warp, warp, 1; shr.u32 t, lane, 2; mul.lo.s32 at, t, {tile.SumsPitch}; and.b32 t, lane, 3;");
        ptx.Line($"mad.lo.s32 at, t, 2, at; mad.lo.s32 at, warp, {tile.WarpColumns}, at; mad.lo.s32 at, at, 4, %1;");
        for (var i = 0; i < tilesDown; i++)
        {
            for (var j = 0; j < tilesAcross; j++)
            {
                for (var lower = 0; lower < 2; lower++)
                {
                    var offset = 4 * ((((i * 16) + (lower * 8)) * tile.SumsPitch) + (j * 8));
                    ptx.Line($"@p st.shared.v2.f32 [at+{offset}], {PtxWriter.Vector("tm_sum", Sum(i, j) + (lower * 2), 2)};");
                }
            }
        }

        ptx.Line("}");
        return ptx.ToString();
    }

    private int Sum(int i, int j) => ((i * tilesAcross) + j) * 4;

    private void Declare(PtxWriter ptx)
    {
        var sets = ahead ? 2 : 1;
        ptx.Line($".reg .b32 a<{sets * tilesDown * 4}>, b<{sets * tilesAcross * 2}>, pixel<{sourcePasses}>;");
        ptx.Line(".reg .b32 lane, warp, chunk, row, height, width, sourceWidth, circular, rowAt, copyTo, copyStage, readStage, blocks, count;");
        ptx.Line(".reg .b32 channel, tapBase, tapX, tapY, first, y, x, t, u, n, to, readA0, readA1, readB0, readB1, atA, atB0, atB1;");
        ptx.Line(".reg .b64 from, base; .reg .pred p, q, more, inside, taller, wider, wraps;");
    }

    /// <summary>What each thread copies: chunk tid % 4 of source row tid / 4 and every 32nd below it, and of that row of every panel.</summary>
    private void Prepare(PtxWriter ptx)
    {
        ptx.Line("mov.b32 height, %0; mov.b32 width, %1; mov.b32 sourceWidth, %2; setp.ne.u32 taller, %3, 0; setp.ne.u32 wider, %4, 0; setp.ne.s32 wraps, %5, 0;");
        ptx.Line("mov.u32 lane, %%tid.x; and.b32 chunk, lane, 3; shr.u32 row, lane, 2;");
        ptx.Line("mad.lo.s32 rowAt, row, 8, %7;");
        ptx.Line($"shr.u32 t, row, 1; and.b32 t, t, 3; xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 copyTo, row, {TensorTileShape.RowBytes}, t; add.s32 copyTo, copyTo, %6;");
        ptx.Line("mul.wide.u32 from, chunk, 16; add.s64 tm_source, tm_source, from; add.s64 tm_weights, tm_weights, from;");
        ptx.Line($"mul.wide.u32 from, row, {TensorTileShape.RowBytes}; add.s64 tm_weights, tm_weights, from;");

        // The first block's tap and channel.
        ptx.Line("add.s32 t, tm_channels, 31; shr.u32 t, t, 5; div.u32 u, tm_block, t; mul.lo.s32 t, t, u; sub.s32 channel, tm_block, t; shl.b32 channel, channel, 5;");
        ptx.Line($"div.u32 tapY, u, tm_kernel; mul.lo.s32 t, tapY, tm_kernel; sub.s32 tapX, u, t; mul.lo.s32 tapBase, u, tm_channels; mul.lo.s32 tapBase, tapBase, {TensorTileShape.RowBytes};");
        ptx.Line("mov.b32 blocks, tm_left; mov.b32 copyStage, 0; mov.b32 readStage, 0;");
        FindPixels(ptx);
        for (var i = 0; i < tilesDown * tilesAcross * 4; i++)
        {
            ptx.Line($"mov.f32 tm_sum{i}, 0f00000000;");
        }
    }

    /// <summary>
    /// Which chunks a lane names to ldmatrix, in a stage. Source: rows l % 16 of 16, chunk l / 16 of the part's two. Panel: depths l % 16, chunk
    /// l / 16 of 16 columns' two. A warp's columns may begin in the middle of a panel; then its odd groups of 16 lie in the next one.
    /// </summary>
    private void PrepareFragments(PtxWriter ptx)
    {
        ptx.Line("shr.u32 warp, lane, 5; and.b32 lane, lane, 31; and.b32 row, lane, 15; shr.u32 chunk, lane, 4; shr.u32 u, row, 1; and.b32 u, u, 3; xor.b32 chunk, chunk, u;");
        ptx.Line($"shr.u32 t, warp, 1; mul.lo.s32 t, t, {tile.WarpRows}; add.s32 t, t, row; mad.lo.s32 t, t, {TensorTileShape.RowBytes}, %6;");
        ptx.Line("mad.lo.s32 readA0, chunk, 16, t; xor.b32 u, chunk, 2; mad.lo.s32 readA1, u, 16, t;");
        ptx.Line($"and.b32 warp, warp, 1; mul.lo.s32 t, warp, {tile.WarpColumns / 16}; and.b32 n, t, 1; shr.u32 t, t, 1;");
        ptx.Line($"mul.lo.s32 t, t, {PassBytes}; mad.lo.s32 t, row, {TensorTileShape.RowBytes}, t; add.s32 t, t, %6; add.s32 t, t, {tile.Rows * TensorTileShape.RowBytes};");
        ptx.Line("shl.b32 u, n, 1; xor.b32 chunk, chunk, u; mad.lo.s32 readB0, chunk, 16, t; xor.b32 chunk, chunk, 2; mad.lo.s32 readB1, chunk, 16, t;");
        ptx.Line($"mad.lo.s32 readB1, n, {PassBytes}, readB1;");
    }

    /// <summary>The source pixels that the thread's rows see through the current tap; -1 for those that see zeros.</summary>
    private void FindPixels(PtxWriter ptx)
    {
        for (var i = 0; i < sourcePasses; i++)
        {
            ptx.Line($"ld.shared.v2.b32 {{first, y}}, [rowAt+{i * 32 * 8}];");
            ptx.Line("shr.s32 x, y, 16; shl.b32 y, y, 16; shr.s32 y, y, 16; add.s32 x, x, tapX; add.s32 y, y, tapY;");
            Wrap(ptx, "y", "height");
            Wrap(ptx, "x", "width");
            ptx.Line("setp.ge.s32 inside, first, 0; setp.lt.and.u32 inside, y, height, inside; setp.lt.and.u32 inside, x, width, inside;");
            ptx.Line("mul.hi.u32 t, y, %3; selp.b32 y, t, y, taller; mul.hi.u32 t, x, %4; selp.b32 x, t, x, wider;");
            ptx.Line("mad.lo.s32 t, y, sourceWidth, x; add.s32 t, t, first; mul.lo.s32 t, t, tm_pitch;");
            ptx.Line($"selp.b32 pixel{i}, t, -1, inside;");
        }
    }

    private static void Wrap(PtxWriter ptx, string position, string size)
    {
        ptx.Line($"setp.lt.and.s32 p, {position}, 0, wraps; @p add.s32 {position}, {position}, {size};");
        ptx.Line($"setp.ge.and.s32 p, {position}, {size}, wraps; @p sub.s32 {position}, {position}, {size};");
    }

    /// <summary>Copies the next block to its stage, or nothing when none is left; either way it is a group of copies that can be waited for.</summary>
    private void Load(PtxWriter ptx, string label)
    {
        ptx.Line("setp.gt.s32 more, tm_left, 0; add.s32 to, copyTo, copyStage;");
        ptx.Line("mov.u32 t, %%tid.x; and.b32 t, t, 3; mad.lo.s32 t, t, 8, channel; setp.lt.and.s32 p, t, tm_channels, more;");
        ptx.Line("mul.wide.u32 base, channel, 2; add.s64 base, base, tm_source;");
        for (var i = 0; i < sourcePasses; i++)
        {
            ptx.Line($"setp.ne.and.s32 q, pixel{i}, -1, p; selp.b32 n, 16, 0, q; selp.b32 t, pixel{i}, 0, q; mad.wide.u32 from, t, 16, base;");
            ptx.Line($"cp.async.cg.shared.global.L2::128B [to+{i * PassBytes}], [from], 16, n;");
        }

        ptx.Line("mov.u32 t, %%tid.x; shr.u32 t, t, 2; add.s32 t, t, channel; setp.lt.and.s32 p, t, tm_channels, more;");
        ptx.Line($"mad.lo.s32 u, channel, {TensorTileShape.RowBytes}, tapBase;");
        for (var panel = 0; panel < tile.Panels; panel++)
        {
            ptx.Line($"setp.gt.and.s32 q, tm_panels, {panel}, p; selp.b32 n, 16, 0, q; selp.b32 t, u, 0, q; cvt.u64.u32 from, t; add.s64 from, from, tm_weights;");
            ptx.Line($"cp.async.cg.shared.global.L2::128B [to+{(sourcePasses + panel) * PassBytes}], [from], 16, n; add.s32 u, u, tm_panelBytes;");
        }

        ptx.Line("cp.async.commit_group;");
        ptx.Line($"add.s32 copyStage, copyStage, {tile.StageBytes}; setp.eq.s32 p, copyStage, {TensorTileShape.Stages * tile.StageBytes}; selp.b32 copyStage, 0, copyStage, p;");
        ptx.Line($"sub.s32 tm_left, tm_left, 1; add.s32 channel, channel, {TensorTileShape.Depth}; setp.lt.s32 p, channel, tm_channels; @p bra {label}_SAME_TAP;");
        ptx.Line($"mov.b32 channel, 0; mad.lo.s32 tapBase, tm_channels, {TensorTileShape.RowBytes}, tapBase;");
        ptx.Line("add.s32 tapX, tapX, 1; setp.eq.s32 p, tapX, tm_kernel; selp.b32 tapX, 0, tapX, p; @p add.s32 tapY, tapY, 1;");
        FindPixels(ptx);
        ptx.Line($"{label}_SAME_TAP:");
    }

    private void NextStage(PtxWriter ptx) => ptx.Line(
        $"add.s32 readStage, readStage, {tile.StageBytes}; setp.eq.s32 p, readStage, {TensorTileShape.Stages * tile.StageBytes}; selp.b32 readStage, 0, readStage, p;");

    private int Set(int part) => ahead ? part : 0;

    /// <summary>Part 0 or 1 of a block: 16 of its depth.</summary>
    private void ReadFragments(PtxWriter ptx, int part)
    {
        ptx.Line($"add.s32 atA, readA{part}, readStage; add.s32 atB0, readB0, readStage; add.s32 atB1, readB1, readStage;");
        for (var i = 0; i < tilesDown; i++)
        {
            ptx.Line($"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {PtxWriter.Vector("a", A(part, i), 4)}, [atA+{i * Rows16}];");
        }

        for (var group = 0; group < tilesAcross / 2; group++)
        {
            ptx.Line($"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {PtxWriter.Vector("b", B(part, group * 2), 4)}, [atB{group % 2}+{(group / 2 * PassBytes) + (part * Rows16)}];");
        }
    }

    private int A(int part, int i) => ((Set(part) * tilesDown) + i) * 4;

    private int B(int part, int j) => ((Set(part) * tilesAcross) + j) * 2;

    /// <summary>Back and forth over the columns, so that one operand stays the same from instruction to instruction.</summary>
    private void Multiply(PtxWriter ptx, int part)
    {
        for (var i = 0; i < tilesDown; i++)
        {
            for (var step = 0; step < tilesAcross; step++)
            {
                var j = i % 2 == 0 ? step : tilesAcross - 1 - step;
                var sums = PtxWriter.Vector("tm_sum", Sum(i, j), 4);
                ptx.Line($"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {sums}, {PtxWriter.Vector("a", A(part, i), 4)}, {PtxWriter.Vector("b", B(part, j), 2)}, {sums};");
            }
        }
    }
}
