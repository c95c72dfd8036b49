namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What attention's texts have in common: a warp's scores, the online softmax to base 2 (Milakov and Gimelshein 2018, arXiv:1805.02867), the weighted sums
/// and the way out. All of it is in registers.
/// <para>
/// The matrix instruction gives each lane, of every tile of 16 rows by 8 columns, columns 2 * (l % 4) and the next in rows l / 4 and l / 4 + 8: registers
/// 0, 1 and 2, 3 of the tile. As fp16 pairs, two such tiles side by side are an operand for the next multiplication.
/// </para>
/// <para>
/// Expects registers lane, warp, t, u, x, y (fp32), p (a predicate), scale, at_keys, at_firstKeys, at_causal.
/// </para>
/// </summary>
/// <param name="ptx">Where to write.</param>
/// <param name="rowTiles">Tiles of 16 queries in a warp.</param>
/// <param name="columnTiles">Tiles of 8 columns of the output.</param>
/// <param name="keyTiles">The most tiles of 8 keys at a time.</param>
internal sealed class SoftmaxText(PtxWriter ptx, int rowTiles, int columnTiles, int keyTiles)
{
    /// <summary>
    /// Logits beyond this are subtracted from each other before they are scaled: the product's rounding would show in their weights. Below, it does not:
    /// 2^10 has 2^-13 behind the last bit.
    /// </summary>
    private const string LargeLogit = "0f44800000";

    private const string MinusInfinity = "0fFF800000";

    private int WarpRows => rowTiles * 16;

    public void Declare()
    {
        ptx.Line($".reg .f32 s<{rowTiles * keyTiles * 4}>, o<{rowTiles * columnTiles * 4}>;");
        ptx.Line($".reg .f32 top<{rowTiles * 2}>, next<{rowTiles * 2}>, shift<{rowTiles * 2}>, total<{rowTiles * 2}>, none;");
        ptx.Line($".reg .b32 w<{rowTiles * keyTiles * 2}>;");
    }

    public void Reset()
    {
        ptx.Line("mov.f32 none, 0f00000000;");
        for (var i = 0; i < rowTiles * columnTiles * 4; i++)
        {
            ptx.Line($"mov.f32 o{i}, none;");
        }

        for (var row = 0; row < rowTiles * 2; row++)
        {
            ptx.Line($"mov.f32 top{row}, {MinusInfinity}; mov.f32 total{row}, none;");
        }
    }

    /// <summary>Scores of 16 queries by 8 keys, or their beginning where <paramref name="first"/>: += q k^T.</summary>
    public void AddScores(int m, int keyTile, string query, string key, bool first)
    {
        var sums = PtxWriter.Vector("s", Score(m, keyTile), 4);
        Multiply(sums, query, key, first ? "{none,none,none,none}" : sums);
    }

    /// <summary>Outputs of 16 queries by 8 columns: += w v, for 16 keys.</summary>
    public void AddValues(int m, int columnTile, int keyStep, string value)
    {
        var sums = PtxWriter.Vector("o", Output(m, columnTile), 4);
        Multiply(sums, PtxWriter.Vector("w", Weight(m, keyStep), 4), value, sums);
    }

    /// <summary>Scores of keys that a query does not see, among the first <paramref name="tiles"/> tiles from key <paramref name="firstKey"/> on, become nothing.</summary>
    public void Mask(int tiles, string firstKey)
    {
        for (var row = 0; row < rowTiles * 2; row++)
        {
            // u: keys that the query sees, counted from the lane's first one.
            ptx.Line($"shr.u32 t, lane, 2; mad.lo.s32 t, warp, {WarpRows}, t; add.s32 t, t, {row * 8}; mad.lo.s32 u, t, at_causal, at_firstKeys; min.s32 u, u, at_keys;");
            ptx.Line($"and.b32 t, lane, 3; shl.b32 t, t, 1; sub.s32 u, u, t; sub.s32 u, u, {firstKey};");
            foreach (var (score, column) in ScoresOf(row, tiles))
            {
                ptx.Line($"setp.gt.s32 p, u, {column}; selp.f32 s{score}, s{score}, {MinusInfinity}, p;");
            }
        }
    }

    /// <summary>Scores become weights, as pairs of fp16; sums and outputs so far are weighed anew.</summary>
    /// <param name="tiles">Of keys.</param>
    /// <param name="label">A name that the text has not had yet.</param>
    public void Weigh(int tiles, string label)
    {
        for (var row = 0; row < rowTiles * 2; row++)
        {
            FindMaximum(row, tiles);
        }

        ptx.Line("mov.f32 y, none;");
        for (var row = 0; row < rowTiles * 2; row++)
        {
            ptx.Line($"mul.f32 shift{row}, next{row}, scale; neg.f32 shift{row}, shift{row}; abs.f32 x, shift{row}; max.f32 y, y, x;");
        }

        ptx.Line($"setp.gt.f32 p, y, {LargeLogit}; vote.sync.any.pred p, p, 0xffffffff; @!p bra {label};");
        for (var row = 0; row < rowTiles * 2; row++)
        {
            // Each row by itself: its result may not depend on which others are in the warp.
            ptx.Line($"abs.f32 x, shift{row}; setp.gt.f32 p, x, {LargeLogit}; selp.f32 x, next{row}, none, p; selp.f32 shift{row}, none, shift{row}, p;");
            foreach (var (score, _) in ScoresOf(row, tiles))
            {
                ptx.Line($"sub.f32 s{score}, s{score}, x;");
            }
        }

        ptx.Line($"{label}:");
        for (var row = 0; row < rowTiles * 2; row++)
        {
            WeighRow(row, tiles);
        }

        for (var m = 0; m < rowTiles; m++)
        {
            for (var half = 0; half < tiles * 2; half++)
            {
                var score = Score(m, 0) + (half * 2);
                ptx.Line($"cvt.rn.f16x2.f32 w{Weight(m, 0) + half}, s{score + 1}, s{score};");
            }
        }
    }

    /// <summary>
    /// Writes the outputs, divided by the weights' sums, as fp16 to shared memory, and from there in chunks of 16 bytes to the target. Every warp has rows
    /// of its own from <c>shared</c> on; nothing else there is read or on its way any more. Expects registers row, chunk, base, z0 … z3, global
    /// and step (64 bits), at_queries, at_target and at_targetPitch (bytes).
    /// </summary>
    public void Store()
    {
        var rows = new SharedRows(columnTiles);
        ptx.Line($"mul.lo.s32 base, warp, {WarpRows * rows.RowBytes}; add.s32 base, base, shared;");
        StorePairs(rows);
        ptx.Line("bar.warp.sync 0xffffffff;");
        var units = WarpRows * rows.Chunks;
        for (var first = 0; first < units; first += 32)
        {
            ptx.Line($"add.s32 t, lane, {first}; div.u32 row, t, {rows.Chunks}; mul.lo.s32 u, row, {rows.Chunks}; sub.s32 chunk, t, u;");
            ptx.Line($"setp.lt.u32 p, t, {units}; mad.lo.s32 t, warp, {WarpRows}, row; setp.lt.and.s32 p, t, at_queries, p;");
            ptx.Line("mul.wide.s32 global, t, at_targetPitch; add.s64 global, global, at_target; mul.wide.u32 step, chunk, 16; add.s64 global, global, step;");
            rows.Exchange(ptx, "u", "row");
            ptx.Line($"xor.b32 u, u, chunk; shl.b32 u, u, 4; mad.lo.s32 u, row, {rows.RowBytes}, u; add.s32 u, u, base;");
            ptx.Line("@p ld.shared.v4.b32 {z0,z1,z2,z3}, [u]; @p st.global.v4.b32 [global], {z0,z1,z2,z3};");
        }
    }

    private void StorePairs(SharedRows rows)
    {
        ptx.Line($"shr.u32 row, lane, 2; mad.lo.s32 u, row, {rows.RowBytes}, base; and.b32 t, lane, 3; mad.lo.s32 u, t, 4, u;");
        rows.Exchange(ptx, "chunk", "row");
        for (var row = 0; row < rowTiles * 2; row++)
        {
            AcrossLanes("add", $"total{row}");
            ptx.Line($"rcp.approx.ftz.f32 x, total{row};");
            for (var j = 0; j < columnTiles; j++)
            {
                var low = j % rows.Period;
                var o = Output(row / 2, j) + (row % 2 * 2);
                ptx.Line($"mul.f32 o{o}, o{o}, x; mul.f32 o{o + 1}, o{o + 1}, x; cvt.rn.f16x2.f32 z0, o{o + 1}, o{o};");
                ptx.Line($"xor.b32 t, chunk, {low}; mad.lo.s32 t, t, 16, u; st.shared.b32 [t+{(row * 8 * rows.RowBytes) + ((j - low) * 16)}], z0;");
            }
        }
    }

    /// <summary>The largest logit so far.</summary>
    private void FindMaximum(int row, int tiles)
    {
        ptx.Line($"mov.f32 next{row}, top{row}; mov.f32 x, {MinusInfinity};");
        foreach (var (score, column) in ScoresOf(row, tiles))
        {
            var half = column % 2 == 0 ? $"next{row}" : "x";
            ptx.Line($"max.f32 {half}, {half}, s{score};");
        }

        ptx.Line($"max.f32 next{row}, next{row}, x;");
        AcrossLanes("max", $"next{row}");
    }

    private void WeighRow(int row, int tiles)
    {
        ptx.Line($"sub.f32 y, top{row}, next{row}; mul.f32 y, y, scale; ex2.approx.ftz.f32 y, y; mov.f32 top{row}, next{row};");
        ptx.Line($"mul.f32 total{row}, total{row}, y; mov.f32 x, none;");
        foreach (var (score, column) in ScoresOf(row, tiles))
        {
            var half = column % 2 == 0 ? $"total{row}" : "x";
            ptx.Line($"fma.rn.f32 s{score}, s{score}, scale, shift{row}; ex2.approx.ftz.f32 s{score}, s{score}; add.f32 {half}, {half}, s{score};");
        }

        ptx.Line($"add.f32 total{row}, total{row}, x;");
        for (var j = 0; j < columnTiles; j++)
        {
            var o = Output(row / 2, j) + (row % 2 * 2);
            ptx.Line($"mul.f32 o{o}, o{o}, y; mul.f32 o{o + 1}, o{o + 1}, y;");
        }
    }

    /// <summary>Combines what the four lanes of a row have.</summary>
    private void AcrossLanes(string operation, string value)
    {
        foreach (var distance in (int[])[1, 2])
        {
            ptx.Line($"mov.b32 t, {value}; shfl.sync.bfly.b32 t, t, {distance}, 31, 0xffffffff; mov.b32 x, t; {operation}.f32 {value}, {value}, x;");
        }
    }

    private void Multiply(string sums, string a, string b, string begin)
    {
        var shape = PtxWriter.Count(a) == 4 ? "m16n8k16" : "m16n8k8";
        ptx.Line($"mma.sync.aligned.{shape}.row.col.f32.f16.f16.f32 {sums}, {a}, {b}, {begin};");
    }

    /// <summary>A lane's scores of one row, and their columns, counted from the lane's first.</summary>
    private IEnumerable<(int Score, int Column)> ScoresOf(int row, int tiles) =>
        from keyTile in Enumerable.Range(0, tiles)
        from right in (int[])[0, 1]
        select (Score(row / 2, keyTile) + (row % 2 * 2) + right, (keyTile * 8) + right);

    private int Score(int m, int keyTile) => ((m * keyTiles) + keyTile) * 4;

    private int Weight(int m, int keyStep) => ((m * keyTiles) + (keyStep * 2)) * 2;

    private int Output(int m, int columnTile) => ((m * columnTiles) + columnTile) * 4;
}
