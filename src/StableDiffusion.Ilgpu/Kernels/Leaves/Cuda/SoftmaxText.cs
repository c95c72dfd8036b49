namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// What attention's texts have in common: a warp's scores, the online softmax to base 2 (Milakov and Gimelshein 2018, arXiv:1805.02867), the weighted sums
/// and the way out. All of it is in registers.
/// <para>
/// Weights are 2 to the power of a logit's distance from its row's reference. That need not be the largest logit so far: it is when the row begins, and again
/// when its weights have become too large for it (<see cref="Outgrown"/>). Until then neither a maximum is looked for, nor is anything weighed anew. The
/// rows of a tile get new references together: a tile has the same sixteen queries whatever the size of the group, so what a query gets does not depend on it.
/// </para>
/// <para>
/// The matrix instruction gives each lane, of every tile of 16 rows by 8 columns, columns 2 * (l % 4) and the next in rows l / 4 and l / 4 + 8: registers
/// 0, 1 and 2, 3 of the tile. As fp16 pairs, two such tiles side by side are an operand for the next multiplication.
/// </para>
/// <para>
/// Expects registers lane, warp, t, u, x, y (fp32), p (a predicate), scale, at_keys, at_firstKeys, at_causal. Row tiles can be computed one after the other,
/// and one's weights beside another's multiplications: weights need no registers but their own.
/// </para>
/// </summary>
/// <param name="ptx">Where to write.</param>
/// <param name="rowTiles">Tiles of 16 queries in a warp.</param>
/// <param name="columnTiles">Tiles of 8 columns of the output.</param>
/// <param name="keyTiles">The most tiles of 8 keys at a time.</param>
/// <param name="keepsScores">
/// Whether weights leave their scores as they are, for <see cref="Refer"/>, at the price of registers that are needed for a short time. Else they take their place.
/// </param>
internal sealed class SoftmaxText(PtxWriter ptx, int rowTiles, int columnTiles, int keyTiles, bool keepsScores = false)
{
    /// <summary>
    /// Logits beyond this are subtracted from each other before they are scaled: the product's rounding would show in their weights. Below, it does not:
    /// 2^10 has 2^-13 behind the last bit.
    /// </summary>
    private const string LargeLogit = "0f44800000";

    private const string MinusInfinity = "0fFF800000";

    /// <summary>
    /// 2^11: the most that a lane's weights of a row and a block of keys may sum up to. Each of them is then far from fp16's end, and since the first block's
    /// largest is 1, those near its other end add nothing.
    /// </summary>
    private const string MostWeight = "0f45000000";

    /// <summary>1e30: as long as a row has no reference, every weight of a key that it sees is infinite.</summary>
    private const string NoReference = "0f7149F2CA";

    private int WarpRows => rowTiles * 16;

    public void Declare()
    {
        ptx.Line($".reg .f32 s<{rowTiles * keyTiles * 4}>, o<{rowTiles * columnTiles * 4}>;");
        ptx.Line($".reg .f32 top<{rowTiles * 2}>, shift<{rowTiles * 2}>, total<{rowTiles * 2}>, even<{rowTiles * 2}>, odd<{rowTiles * 2}>, none;");
        ptx.Line($".reg .pred large<{rowTiles}>;");
        ptx.Line($".reg .b32 w<{rowTiles * keyTiles * 2}>;");
        if (keepsScores)
        {
            ptx.Line($".reg .f32 e<{rowTiles * keyTiles * 4}>, near<{rowTiles * 2}>;");
        }
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
            ptx.Line($"mov.f32 top{row}, {MinusInfinity}; mov.f32 shift{row}, {NoReference}; mov.f32 total{row}, none;");
        }

        for (var m = 0; m < rowTiles; m++)
        {
            ptx.Line($"setp.ne.s32 large{m}, 0, 0;");
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
    public void Mask(int m, int tiles, string firstKey)
    {
        foreach (var row in RowsOf(m))
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

    /// <summary>The same for keys that do not exist, where every query sees all others. Expects the warp's lane alone.</summary>
    public void MaskEnd(int tiles, string firstKey)
    {
        ptx.Line($"and.b32 t, lane, 3; shl.b32 t, t, 1; sub.s32 u, at_keys, t; sub.s32 u, u, {firstKey};");
        foreach (var (score, column) in from row in RowsOf(0) from score in ScoresOf(row, tiles) select score)
        {
            ptx.Line($"setp.gt.s32 p, u, {column}; selp.f32 s{score}, s{score}, {MinusInfinity}, p;");
        }
    }

    /// <summary>
    /// Where there are large logits, they come near to their references: to be called before <see cref="Weigh"/>. Rows with small ones keep theirs.
    /// </summary>
    /// <param name="m">The row tile.</param>
    /// <param name="tiles">Of keys.</param>
    /// <param name="label">A name that the text has not had yet.</param>
    public void Approach(int m, int tiles, string label)
    {
        ptx.Line($"@!large{m} bra {label};");
        foreach (var row in RowsOf(m))
        {
            ptx.Line($"mul.f32 x, top{row}, scale; abs.f32 x, x; setp.gt.f32 p, x, {LargeLogit}; selp.f32 x, top{row}, none, p;");
            foreach (var (score, _) in ScoresOf(row, tiles))
            {
                ptx.Line($"sub.f32 s{score}, s{score}, x;");
            }
        }

        ptx.Line($"{label}:");
    }

    /// <summary>Goes where <see cref="WeighNear"/> is instead of <see cref="Weigh"/>, where there are large logits.</summary>
    public void LeaveIfLarge(int m, string label) => ptx.Line($"@large{m} bra {label};");

    /// <summary>What <see cref="Approach"/> and <see cref="Weigh"/> do, where scores are kept.</summary>
    public void WeighNear(int m, int tiles)
    {
        foreach (var row in RowsOf(m))
        {
            ptx.Line($"mul.f32 x, top{row}, scale; abs.f32 x, x; setp.gt.f32 p, x, {LargeLogit}; selp.f32 near{row}, top{row}, none, p;");
        }

        WriteWeights(m, tiles, true);
    }

    /// <summary>Scores become weights, as pairs of fp16 too, and are summed up.</summary>
    /// <param name="m">The row tile.</param>
    /// <param name="tiles">Of keys.</param>
    public void Weigh(int m, int tiles) => WriteWeights(m, tiles, false);

    private void WriteWeights(int m, int tiles, bool near)
    {
        var weight = keepsScores ? "e" : "s";
        foreach (var ((score, column), other) in ScoresOf(2 * m, tiles).Zip(ScoresOf((2 * m) + 1, tiles)))
        {
            foreach (var (s, row) in ((int, int)[])[(score, 2 * m), (other.Score, (2 * m) + 1)])
            {
                var sum = column % 2 == 0 ? $"even{row}" : $"odd{row}";
                var add = column < 2 ? $"mov.f32 {sum}, {weight}{s};" : $"add.f32 {sum}, {sum}, {weight}{s};";
                var (distance, from) = near ? ($"sub.f32 e{s}, s{s}, near{row}; ", $"e{s}") : ("", $"s{s}");
                ptx.Line($"{distance}fma.rn.f32 {weight}{s}, {from}, scale, shift{row}; ex2.approx.ftz.f32 {weight}{s}, {weight}{s}; {add}");
            }

            if (column % 2 == 1)
            {
                ptx.Line(
                    $"cvt.rn.f16x2.f32 w{score / 2}, {weight}{score}, {weight}{score - 1}; cvt.rn.f16x2.f32 w{other.Score / 2}, {weight}{other.Score}, {weight}{other.Score - 1};");
            }
        }

        foreach (var row in RowsOf(m))
        {
            ptx.Line($"add.f32 even{row}, even{row}, odd{row};");
        }
    }

    /// <summary>Sets p where some row's weights are too large for its reference: they do not count, and their scores are needed again for <see cref="Refer"/>.</summary>
    public void Outgrown(int m) => ptx.Line(
        $"max.f32 x, even{2 * m}, even{(2 * m) + 1}; setp.gt.f32 p, x, {MostWeight}; vote.sync.any.pred p, p, 0xffffffff;");

    /// <summary>The weights count.</summary>
    public void Count(int m)
    {
        foreach (var row in RowsOf(m))
        {
            ptx.Line($"add.f32 total{row}, total{row}, even{row};");
        }
    }

    /// <summary>Every row refers to its largest logit so far; its sum and outputs are weighed anew.</summary>
    public void Refer(int m, int tiles)
    {
        ptx.Line($"setp.ne.s32 large{m}, 0, 0;");
        foreach (var row in RowsOf(m))
        {
            ptx.Line($"mov.f32 y, top{row};");
            foreach (var (score, _) in ScoresOf(row, tiles))
            {
                ptx.Line($"max.f32 y, y, s{score};");
            }

            AcrossLanes("max", "y");
            ptx.Line($"sub.f32 x, top{row}, y; mul.f32 x, x, scale; ex2.approx.ftz.f32 x, x; mul.f32 total{row}, total{row}, x; mov.f32 top{row}, y;");
            for (var j = 0; j < columnTiles; j++)
            {
                var o = Output(m, j) + (row % 2 * 2);
                ptx.Line($"mul.f32 o{o}, o{o}, x; mul.f32 o{o + 1}, o{o + 1}, x;");
            }

            ptx.Line($"mul.f32 x, y, scale; neg.f32 shift{row}, x; abs.f32 x, x; setp.gt.f32 p, x, {LargeLogit}; selp.f32 shift{row}, none, shift{row}, p; or.pred large{m}, large{m}, p;");
        }

        ptx.Line($"vote.sync.any.pred large{m}, large{m}, 0xffffffff;");
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

    private static int[] RowsOf(int m) => [2 * m, (2 * m) + 1];

    private int Score(int m, int keyTile) => ((m * keyTiles) + keyTile) * 4;

    private int Weight(int m, int keyStep) => ((m * keyTiles) + (keyStep * 2)) * 2;

    private int Output(int m, int columnTile) => ((m * columnTiles) + columnTile) * 4;
}
