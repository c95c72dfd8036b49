namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// Products for compute capability 7.5 and later: <c>ldmatrix</c> takes fragments from shared memory, <c>mma.sync.m16n8k16</c> multiplies fp16 and adds in
/// fp32. Two of the four warps lie above each other and two side by side, each with half of the rows and half of the columns.
/// </summary>
/// <param name="tile">The tile.</param>
/// <param name="stages">Of shared memory.</param>
/// <param name="throughRegisters">Whether copies go through registers, for compute capability 7.5 (<see cref="TuringPtx"/> does the rest).</param>
internal sealed class TensorMultiplyText(TensorTileShape tile, int stages, bool throughRegisters = false)
    : TensorLoopText(tile, Threads, BlockDepth, stages, throughRegisters)
{
    public const int Threads = 128;

    public const int BlockDepth = 32;

    /// <summary>What 16 bytes each that are copied, or read by <c>ldmatrix</c>, need: which banks they fall on depends on what lies between rows alone.</summary>
    public const int StageAlignment = 16;

    /// <summary>Of the source or of a panel.</summary>
    private const int Rows16 = 16 * PanelRowBytes;

    private readonly int warpRows = tile.Rows / 2;

    private readonly int warpColumns = tile.Columns / 2;

    /// <summary>Tiles of the matrix instruction in a warp's rows and columns.</summary>
    private readonly int tilesDown = tile.Rows / 32;

    private readonly int tilesAcross = tile.Columns / 16;

    /// <summary>
    /// Fragments of the next part are read while one is multiplied, over the ends of blocks too; where there are registers for them.
    /// </summary>
    private readonly bool ahead = tile.Rows * tile.Columns <= 128 * 128;

    public override string Start()
    {
        var sets = ahead ? 2 : 1;
        var ptx = new PtxWriter();
        DeclareCopies(ptx);
        ptx.Line($".reg .b32 a<{sets * tilesDown * 4}>, b<{sets * tilesAcross * 2}>, warp, readA0, readA1, readB0, readB1, atA, atB0, atB1;");
        PrepareCopies(ptx);
        PrepareFragments(ptx);
        Fill(ptx, Stages - 1);
        return ptx.ToString();
    }

    public override string Run()
    {
        var ptx = new PtxWriter();
        ZeroSums(ptx);
        if (ahead)
        {
            WaitForBlock(ptx);
            LoadHeld("FIRST");
            ReadFragments(ptx, 0);
        }

        // A stage is filled again after the barrier that all warps reach when they have read the last of it.
        ptx.Line("BLOCK:");
        if (ahead)
        {
            if (!ThroughRegisters)
            {
                Load(ptx, "BLOCK");
            }

            ReadFragments(ptx, 1);
            Multiply(ptx, 0);
            NextStage(ptx);
            WaitForBlock(ptx);
            LoadHeld("BLOCK");
            ReadFragments(ptx, 0);
            Multiply(ptx, 1);
        }
        else
        {
            WaitForBlock(ptx);
            Load(ptx, "BLOCK");
            ReadFragments(ptx, 0);
            Multiply(ptx, 0);
            ReadFragments(ptx, 1);
            Multiply(ptx, 1);
            NextStage(ptx);
        }

        EndBlocks(ptx);
        return ptx.ToString();

        // As soon as the registers are free: whatever is multiplied until they are stored hides it.
        void LoadHeld(string label)
        {
            if (ThroughRegisters)
            {
                Load(ptx, label);
            }
        }
    }

    /// <summary>Lane l has, of each 16 x 8 tile, two columns from (l % 4) * 2 on, in row l / 4 and 8 rows below.</summary>
    public override string StoreSums()
    {
        var ptx = new PtxWriter();
        ptx.Line("{");
        ptx.Line(".reg .b32 lane, warp, up, at, t; .reg .pred p;");
        ptx.Line("mov.u32 lane, %%tid.x; shr.u32 warp, lane, 5; and.b32 lane, lane, 31; shr.u32 up, warp, 1; and.b32 warp, warp, 1;");

        // Of 128 rows, two warps have those asked for; of 64, all.
        ptx.Line(Shape.Rows == 64 ? $"setp.eq.s32 p, %0, 0; mul.lo.s32 up, up, {warpRows};" : "setp.eq.s32 p, up, %0; mov.b32 up, 0;");
        ptx.Line($"shr.u32 t, lane, 2; add.s32 t, t, up; mul.lo.s32 at, t, {Shape.SumsPitch}; and.b32 t, lane, 3;");
        ptx.Line($"mad.lo.s32 at, t, 2, at; mad.lo.s32 at, warp, {warpColumns}, at; mad.lo.s32 at, at, 4, %1;");
        for (var i = 0; i < tilesDown; i++)
        {
            for (var j = 0; j < tilesAcross; j++)
            {
                for (var lower = 0; lower < 2; lower++)
                {
                    var offset = 4 * ((((i * 16) + (lower * 8)) * Shape.SumsPitch) + (j * 8));
                    ptx.Line($"@p st.shared.v2.f32 [at+{offset}], {PtxWriter.Vector("tm_sum", Sum(i, j) + (lower * 2), 2)};");
                }
            }
        }

        ptx.Line("}");
        return ptx.ToString();
    }

    private int Sum(int i, int j) => ((i * tilesAcross) + j) * 4;

    /// <summary>
    /// Which chunks a lane names to ldmatrix, in a stage. Source: rows l % 16 of 16, chunk l / 16 of the part's two. Panel: depths l % 16, chunk
    /// l / 16 of 16 columns' two. A warp's columns may begin in the middle of a panel; then its odd groups of 16 lie in the next one.
    /// </summary>
    private void PrepareFragments(PtxWriter ptx)
    {
        ptx.Line("shr.u32 warp, lane, 5; and.b32 lane, lane, 31; and.b32 row, lane, 15; shr.u32 chunk, lane, 4; shr.u32 u, row, 1; and.b32 u, u, 3; xor.b32 chunk, chunk, u;");
        ptx.Line($"shr.u32 t, warp, 1; mul.lo.s32 t, t, {warpRows}; add.s32 t, t, row; mad.lo.s32 t, t, {PanelRowBytes}, %6;");
        ptx.Line("mad.lo.s32 readA0, chunk, 16, t; xor.b32 u, chunk, 2; mad.lo.s32 readA1, u, 16, t;");
        ptx.Line($"and.b32 warp, warp, 1; mul.lo.s32 t, warp, {warpColumns / 16}; and.b32 n, t, 1; shr.u32 t, t, 1;");
        ptx.Line($"mul.lo.s32 t, t, {PanelBytes}; mad.lo.s32 t, row, {PanelRowBytes}, t; add.s32 t, t, %6; add.s32 t, t, {SourceBytes};");
        ptx.Line("shl.b32 u, n, 1; xor.b32 chunk, chunk, u; mad.lo.s32 readB0, chunk, 16, t; xor.b32 chunk, chunk, 2; mad.lo.s32 readB1, chunk, 16, t;");
        ptx.Line($"mad.lo.s32 readB1, n, {PanelBytes}, readB1;");
    }

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
            ptx.Line($"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {PtxWriter.Vector("b", B(part, group * 2), 4)}, [atB{group % 2}+{(group / 2 * PanelBytes) + (part * Rows16)}];");
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
