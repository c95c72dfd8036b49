namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX of attention for compute capability 7.5 and later (Dao 2023, arXiv:2307.08691), for heads whose queries and outputs fit into registers.
/// <c>cp.async</c> copies tiles of 64 keys and their values to one of two stages in shared memory while the other is used; <c>ldmatrix</c> takes
/// fragments from there; <c>mma.sync</c> multiplies fp16 and adds in fp32.
/// <para>
/// Tiles that all queries see are computed at once. The others, the last one and those on a causal attention's diagonal, go in blocks of 16 keys with a
/// mask, and as many blocks as there are keys: 77 keys cost 80.
/// </para>
/// </summary>
internal sealed class TensorAttentionText
{
    private const int TileKeys = TensorAttentionShape.TileKeys;

    /// <summary>Keys of a block at the edge.</summary>
    private const int EdgeKeys = 16;

    private readonly PtxWriter ptx = new();
    private readonly TensorAttentionShape shape;
    private readonly SharedRows rows;
    private readonly SoftmaxText softmax;
    private readonly TileCopyText copy;

    public TensorAttentionText(TensorAttentionShape shape)
    {
        this.shape = shape;
        rows = shape.Rows;
        softmax = new SoftmaxText(ptx, shape.RowTiles, rows.Chunks, TileKeys / 8);
        copy = new TileCopyText(ptx, rows);
    }

    /// <summary>Steps of the matrix instruction over the head's channels: of 16, and a last one of 8 where that does not divide them.</summary>
    private int ChannelSteps => (rows.Chunks + 1) / 2;

    /// <summary>Registers that the other text sees.</summary>
    public static string Begin()
    {
        var ptx = new PtxWriter();
        ptx.Line(".reg .b64 at_query, at_key, at_value, at_target; .reg .b32 at_queryPitch, at_keyPitch, at_valuePitch, at_targetPitch;");
        ptx.Line("mov.b64 at_query, %0; mov.b64 at_key, %1; mov.b64 at_value, %2; mov.b64 at_target, %3;");
        ptx.Line("mov.b32 at_queryPitch, %4; mov.b32 at_keyPitch, %5; mov.b32 at_valuePitch, %6; mov.b32 at_targetPitch, %7;");
        return ptx.ToString();
    }

    public string Run()
    {
        ptx.Line("{");
        Declare();
        ptx.Line("mov.b32 at_queries, %0; mov.b32 at_keys, %1; mov.b32 at_firstKeys, %2; mov.b32 at_causal, %3; mov.f32 scale, %4; mov.b32 shared, %5;");
        ptx.Line("mov.u32 tid, %%tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5;");
        PrepareFragments();
        copy.Prepare();
        softmax.Reset();

        // The queries pass through the second stage, while the first tile fills the first one.
        CopyQueries();
        ptx.Line("mov.b32 firstKey, 0;");
        copy.Load("shared", "firstKey");
        ptx.Line("cp.async.wait_all; bar.sync 0;");
        ReadQueries();

        // After the barrier the tile is there for all, and none uses the one before any more.
        ptx.Line("mov.b32 stage, 0;");
        ptx.Line("TILE:");
        ptx.Line("cp.async.wait_all; bar.sync 0;");
        ptx.Line($"add.s32 nextKey, firstKey, {TileKeys}; setp.ge.s32 p, nextKey, at_keys; @p bra LOADED;");
        ptx.Line($"sub.s32 to, {shape.StageBytes}, stage; add.s32 to, to, shared;");
        copy.Load("to", "nextKey");
        ptx.Line("LOADED:");
        ptx.Line("mov.b32 block, stage; setp.gt.s32 p, nextKey, at_firstKeys; @p bra EDGE;");
        Block(TileKeys, "TILE");
        ptx.Line("mov.b32 firstKey, nextKey; bra NEXT;");

        ptx.Line("EDGE:");
        ptx.Line("min.s32 nextKey, nextKey, at_keys;");
        ptx.Line("EDGE_BLOCK:");
        Block(EdgeKeys, "EDGE");
        ptx.Line($"add.s32 firstKey, firstKey, {EdgeKeys}; add.s32 block, block, {EdgeKeys * rows.RowBytes}; setp.lt.s32 p, firstKey, nextKey; @p bra EDGE_BLOCK;");

        ptx.Line("NEXT:");
        ptx.Line($"sub.s32 stage, {shape.StageBytes}, stage; setp.lt.s32 p, firstKey, at_keys; @p bra TILE;");
        ptx.Line("bar.sync 0;");
        softmax.Store();
        ptx.Line("bra DONE;");
        NewReferences(TileKeys, "TILE");
        NewReferences(EdgeKeys, "EDGE");
        ptx.Line("DONE:");
        ptx.Line("}");
        return ptx.ToString();
    }

    private void Declare()
    {
        ptx.Line(".reg .b32 at_queries, at_keys, at_firstKeys, at_causal, shared, tid, lane, warp, row, chunk, base, t, u, at, to, z0, z1, z2, z3;");
        ptx.Line(".reg .b32 stage, block, firstKey, nextKey; .reg .b64 global, step; .reg .f32 scale, x, y; .reg .pred p;");
        ptx.Line($".reg .b32 q<{shape.RowTiles * rows.Chunks * 2}>, f<4>, across<{rows.Addresses}>, down<{rows.Addresses}>;");
        copy.Declare();
        softmax.Declare();
    }

    /// <summary>
    /// Which chunks a lane names to ldmatrix, which takes four matrices of 8 rows by 8 values from lanes 0 … 7, 8 … 15 and so on. "Down": two matrices below
    /// each other, two more to their right, as queries and (transposed) values are needed; "across": two side by side, two more below,
    /// as keys are.
    /// </summary>
    private void PrepareFragments()
    {
        ptx.Line("and.b32 row, lane, 15; shr.u32 chunk, lane, 4;");
        rows.Prepare(ptx, "down", "row", "chunk", "shared");
        ptx.Line("and.b32 row, lane, 7; and.b32 t, lane, 16; shr.u32 t, t, 1; or.b32 row, row, t; shr.u32 chunk, lane, 3; and.b32 chunk, chunk, 1;");
        rows.Prepare(ptx, "across", "row", "chunk", "shared");
    }

    private void CopyQueries()
    {
        for (var first = 0; first < shape.Queries * rows.Chunks; first += TensorAttentionShape.Threads)
        {
            ptx.Line($"add.s32 t, tid, {first}; div.u32 row, t, {rows.Chunks}; mul.lo.s32 u, row, {rows.Chunks}; sub.s32 chunk, t, u;");
            ptx.Line("mul.wide.s32 global, row, at_queryPitch; add.s64 global, global, at_query; mul.wide.u32 step, chunk, 16; add.s64 global, global, step;");
            rows.Exchange(ptx, "u", "row");
            ptx.Line($"xor.b32 u, u, chunk; shl.b32 u, u, 4; mad.lo.s32 u, row, {rows.RowBytes}, u; add.s32 u, u, shared;");
            ptx.Line($"setp.lt.s32 p, row, at_queries; selp.b32 t, 16, 0, p; cp.async.cg.shared.global [u+{shape.StageBytes}], [global], 16, t;");
        }
    }

    /// <summary>Chunk c of 16 rows: registers 2c (rows 0 … 7) and 2c + 1 (8 … 15), two chunks at a time.</summary>
    private void ReadQueries()
    {
        ptx.Line($"mul.lo.s32 base, warp, {shape.WarpQueries * rows.RowBytes}; add.s32 base, base, {shape.StageBytes};");
        for (var m = 0; m < shape.RowTiles; m++)
        {
            for (var step = 0; step < ChannelSteps; step++)
            {
                ReadMatrices("down", "base", step * 2, m * 16, Query(m, step), false);
            }
        }
    }

    /// <summary>
    /// A block of keys and its values. One row tile's weights are computed beside the next one's scores, and its outputs beside the next one's weights: the
    /// tensor cores and the special function units have something to do at once.
    /// </summary>
    private void Block(int keys, string label)
    {
        Scores(0, keys);
        for (var m = 0; m < shape.RowTiles; m++)
        {
            softmax.Approach(m, keys / 8, $"{label}_WEIGH{m}");
            ptx.Mix(() => softmax.Weigh(m, keys / 8), () => Beside(m, keys));
            softmax.Outgrown(m);
            ptx.Line($"@p bra {label}_REFER{m};");
            ptx.Line($"{label}_COUNT{m}:");
            softmax.Count(m);
        }

        Values(shape.RowTiles - 1, keys);
    }

    /// <summary>What is multiplied while a row tile's weights are computed.</summary>
    private void Beside(int m, int keys)
    {
        if (m > 0)
        {
            Values(m - 1, keys);
        }

        if (m + 1 < shape.RowTiles)
        {
            Scores(m + 1, keys);
        }
    }

    /// <summary>What happens seldom to a block's row tiles: their scores once more, with other references.</summary>
    private void NewReferences(int keys, string label)
    {
        for (var m = 0; m < shape.RowTiles; m++)
        {
            ptx.Line($"{label}_REFER{m}:");
            Scores(m, keys);
            softmax.Refer(m, keys / 8);
            softmax.Approach(m, keys / 8, $"{label}_AGAIN{m}");
            softmax.Weigh(m, keys / 8);
            ptx.Line($"bra {label}_COUNT{m};");
        }
    }

    private void Scores(int m, int keys)
    {
        for (var step = 0; step < ChannelSteps; step++)
        {
            for (var keyTile = 0; keyTile < keys / 8; keyTile += 2)
            {
                var wide = Wide(step);
                ReadMatrices(wide ? "across" : "down", "block", step * 2, keyTile * 8, wide ? "{f0,f1,f2,f3}" : "{f0,f1}", false);
                softmax.AddScores(m, keyTile, Query(m, step), wide ? "{f0,f1}" : "{f0}", step == 0);
                softmax.AddScores(m, keyTile + 1, Query(m, step), wide ? "{f2,f3}" : "{f1}", step == 0);
            }
        }

        if (keys == EdgeKeys)
        {
            softmax.Mask(m, keys / 8, "firstKey");
        }
    }

    private void Values(int m, int keys)
    {
        for (var keyStep = 0; keyStep < keys / 16; keyStep++)
        {
            for (var step = 0; step < ChannelSteps; step++)
            {
                var wide = Wide(step);
                ReadMatrices("down", "block", step * 2, TileKeys + (keyStep * 16), wide ? "{f0,f1,f2,f3}" : "{f0,f1}", true);
                softmax.AddValues(m, step * 2, keyStep, "{f0,f1}");
                if (wide)
                {
                    softmax.AddValues(m, (step * 2) + 1, keyStep, "{f2,f3}");
                }
            }
        }
    }

    private bool Wide(int step) => (step * 2) + 1 < rows.Chunks;

    private string Query(int m, int step) => PtxWriter.Vector("q", ((m * rows.Chunks) + (step * 2)) * 2, Wide(step) ? 4 : 2);

    private void ReadMatrices(string addresses, string offset, int chunk, int row, string to, bool transposed)
    {
        var (address, distance) = rows.Locate(chunk);
        var count = PtxWriter.Count(to);
        ptx.Line($"add.s32 at, {addresses}{address}, {offset}; ldmatrix.sync.aligned.m8n8.x{count}{(transposed ? ".trans" : "")}.shared.b16 {to}, [at+{distance + (row * rows.RowBytes)}];");
    }
}
