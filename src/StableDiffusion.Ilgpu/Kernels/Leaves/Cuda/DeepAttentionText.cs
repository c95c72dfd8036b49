namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX of attention for heads that are too large for <see cref="TensorAttentionText"/>: a group computes 128 columns of its 64 queries' outputs, from all of the scores.
/// <para>
/// Everything goes through shared memory in pieces of 64 rows by 64 channels. The queries' stay there; those of keys and values follow each
/// other in a ring of slots: for each tile of 64 keys the keys' pieces, then the two of the values that the group needs. At each step, the piece for three
/// steps later is loaded.
/// </para>
/// </summary>
internal sealed class DeepAttentionText
{
    private const int TileKeys = DeepAttentionShape.TileKeys;

    private const int PieceBytes = DeepAttentionShape.PieceBytes;

    private const int ValuePieces = DeepAttentionShape.PartColumns / DeepAttentionShape.PieceChannels;

    private const int Slots = DeepAttentionShape.Slots;

    private static readonly SharedRows Rows = new(DeepAttentionShape.PieceChannels / 8);

    private readonly PtxWriter ptx = new();
    private readonly SoftmaxText softmax;

    public DeepAttentionText() => softmax = new SoftmaxText(ptx, rowTiles: 1, DeepAttentionShape.PartColumns / 8, TileKeys / 8);

    public string Run()
    {
        ptx.Line("{");
        Declare();
        ptx.Line("mov.b32 at_queries, %0; mov.b32 at_keys, %1; mov.b32 at_firstKeys, %2; mov.b32 at_causal, %3; mov.f32 scale, %4; mov.b32 shared, %5; mov.b32 pieces, %6;");
        ptx.Line("mov.u32 tid, %%tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5;");
        Prepare();
        softmax.Reset();
        LoadQueries();
        for (var slot = 0; slot < Slots - 1; slot++)
        {
            Load($"FILL{slot}");
        }

        ptx.Line("mov.b32 firstKey, 0; mov.b32 slot, ring;");
        ptx.Line("TILE:");
        for (var i = 0; i < TileKeys / 8 * 4; i++)
        {
            ptx.Line($"mov.f32 s{i}, none;");
        }

        ptx.Line($"mov.b32 piece, 0; mul.lo.s32 query, warp, {16 * Rows.RowBytes}; add.s32 query, query, shared;");
        ptx.Line("KEYS:");
        NextPiece("LOAD_KEYS");
        Scores();
        Leave();
        ptx.Line($"add.s32 query, query, {PieceBytes}; add.s32 piece, piece, 1; setp.lt.s32 p, piece, pieces; @p bra KEYS;");
        ptx.Line($"add.s32 t, firstKey, {TileKeys}; setp.le.s32 p, t, at_firstKeys; @p bra WEIGH;");
        softmax.Mask(0, TileKeys / 8, "firstKey");
        ptx.Line("WEIGH:");
        softmax.Refer(0, TileKeys / 8);
        softmax.Approach(0, TileKeys / 8, "WEIGH_TILE");
        softmax.Weigh(0, TileKeys / 8);
        softmax.Count(0);
        for (var part = 0; part < ValuePieces; part++)
        {
            NextPiece($"LOAD_VALUES{part}");
            Values(part);
            Leave();
        }

        ptx.Line($"add.s32 firstKey, firstKey, {TileKeys}; setp.lt.s32 p, firstKey, at_keys; @p bra TILE;");
        ptx.Line("cp.async.wait_all; bar.sync 0; mov.b32 shared, ring;");
        softmax.Store();
        ptx.Line("}");
        return ptx.ToString();
    }

    private void Declare()
    {
        ptx.Line(".reg .b32 at_queries, at_keys, at_firstKeys, at_causal, shared, tid, lane, warp, row, chunk, base, t, u, at, z0, z1, z2, z3, size;");
        ptx.Line(".reg .b32 pieces, piece, query, ring, slot, fill, load, keysLeft, firstKey, place, pitch; .reg .b64 global, step, keys, values, keyStep, valueStep;");
        ptx.Line($".reg .f32 scale, x, y; .reg .pred p; .reg .b32 q<4>, f<4>, across<{Rows.Addresses}>, down<{Rows.Addresses}>;");
        softmax.Declare();
    }

    /// <summary>Addresses in a piece that is in place 0 of shared memory, and in the sources. For "down" and "across" see the other text.</summary>
    private void Prepare()
    {
        ptx.Line("mov.b32 base, 0; and.b32 row, lane, 15; shr.u32 chunk, lane, 4;");
        Rows.Prepare(ptx, "down", "row", "chunk", "base");
        ptx.Line("and.b32 row, lane, 7; and.b32 t, lane, 16; shr.u32 t, t, 1; or.b32 row, row, t; shr.u32 chunk, lane, 3; and.b32 chunk, chunk, 1;");
        Rows.Prepare(ptx, "across", "row", "chunk", "base");

        // A work-item copies a chunk, and the one after the next three, of a row and of the one 32 further.
        ptx.Line("and.b32 row, lane, 7; mad.lo.s32 row, warp, 8, row; shr.u32 chunk, lane, 3;");
        Rows.Exchange(ptx, "t", "row");
        ptx.Line($"xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 place, row, {Rows.RowBytes}, t;");
        ptx.Line("mul.wide.u32 step, chunk, 16; mul.wide.s32 keys, row, at_keyPitch; mul.wide.s32 values, row, at_valuePitch;");
        ptx.Line("add.s64 keys, keys, step; add.s64 keys, keys, at_key; add.s64 values, values, step; add.s64 values, values, at_value;");
        ptx.Line($"mul.wide.s32 keyStep, at_keyPitch, {TileKeys}; mul.wide.s32 valueStep, at_valuePitch, {TileKeys};");
        ptx.Line($"mad.lo.s32 ring, pieces, {PieceBytes}, shared; mov.b32 fill, ring; mov.b32 load, 0; mov.b32 keysLeft, at_keys;");
    }

    private void LoadQueries()
    {
        ptx.Line("mul.wide.s32 global, row, at_queryPitch; add.s64 global, global, step; add.s64 global, global, at_query;");
        ptx.Line("mov.b32 t, at_queries; mov.b32 pitch, at_queryPitch; mov.b32 piece, 0; mov.b32 query, shared;");
        ptx.Line("QUERIES:");
        Copy("query", "at_queries");
        ptx.Line($"add.s64 global, global, {Rows.RowBytes}; add.s32 query, query, {PieceBytes}; add.s32 piece, piece, 1; setp.lt.s32 p, piece, pieces; @p bra QUERIES;");
    }

    /// <summary>Copies the next piece of keys or values to the next slot, or nothing when none is left; either way it is a group of copies that can be waited for.</summary>
    private void Load(string label)
    {
        ptx.Line($"setp.le.s32 p, keysLeft, 0; @p bra {label};");
        ptx.Line($"mul.wide.s32 global, load, {Rows.RowBytes}; add.s64 global, global, keys; sub.s32 t, load, pieces; mul.wide.s32 step, t, {Rows.RowBytes}; add.s64 step, step, values;");
        ptx.Line("setp.lt.s32 p, load, pieces; selp.b64 global, global, step, p; selp.b32 pitch, at_keyPitch, at_valuePitch, p;");
        Copy("fill", "keysLeft");
        Advance("fill");
        ptx.Line($"add.s32 load, load, 1; add.s32 t, pieces, {ValuePieces}; setp.lt.s32 p, load, t; @p bra {label};");
        ptx.Line($"mov.b32 load, 0; sub.s32 keysLeft, keysLeft, {TileKeys}; add.s64 keys, keys, keyStep; add.s64 values, values, valueStep;");
        ptx.Line($"{label}:");
        ptx.Line("cp.async.commit_group;");
    }

    /// <summary>Copies the work-item's part of a piece, from address <c>global</c> on.</summary>
    private void Copy(string piece, string rowsLeft)
    {
        ptx.Line($"add.s32 at, {piece}, place; xor.b32 u, place, 64; add.s32 u, u, {piece};");
        for (var row = 0; row < 64; row += 32)
        {
            ptx.Line($"sub.s32 t, {rowsLeft}, {row}; setp.lt.s32 p, row, t; selp.b32 size, 16, 0, p; mul.wide.s32 step, pitch, {row}; add.s64 step, step, global;");
            ptx.Line($"cp.async.cg.shared.global.L2::128B [at+{row * Rows.RowBytes}], [step], 16, size;");
            ptx.Line($"cp.async.cg.shared.global.L2::128B [u+{row * Rows.RowBytes}], [step+64], 16, size;");
        }
    }

    /// <summary>After the barrier the piece in the current slot is there for all, and none uses the one before any more: its slot is filled again.</summary>
    private void NextPiece(string label)
    {
        ptx.Line($"cp.async.wait_group {Slots - 2}; bar.sync 0;");
        Load(label);
    }

    private void Leave() => Advance("slot");

    private void Advance(string slot) => ptx.Line(
        $"add.s32 {slot}, {slot}, {PieceBytes}; add.s32 t, ring, {Slots * PieceBytes}; setp.eq.s32 p, {slot}, t; selp.b32 {slot}, ring, {slot}, p;");

    private void Scores()
    {
        for (var step = 0; step < Rows.Chunks / 2; step++)
        {
            ReadMatrices("down", "query", step * 2, 0, "{q0,q1,q2,q3}", false);
            for (var keyTile = 0; keyTile < TileKeys / 8; keyTile += 2)
            {
                ReadMatrices("across", "slot", step * 2, keyTile * 8, "{f0,f1,f2,f3}", false);
                softmax.AddScores(0, keyTile, "{q0,q1,q2,q3}", "{f0,f1}", first: false);
                softmax.AddScores(0, keyTile + 1, "{q0,q1,q2,q3}", "{f2,f3}", first: false);
            }
        }
    }

    private void Values(int part)
    {
        for (var keyStep = 0; keyStep < TileKeys / 16; keyStep++)
        {
            for (var chunk = 0; chunk < Rows.Chunks; chunk += 2)
            {
                ReadMatrices("down", "slot", chunk, keyStep * 16, "{f0,f1,f2,f3}", true);
                softmax.AddValues(0, (part * Rows.Chunks) + chunk, keyStep, "{f0,f1}");
                softmax.AddValues(0, (part * Rows.Chunks) + chunk + 1, keyStep, "{f2,f3}");
            }
        }
    }

    private void ReadMatrices(string addresses, string offset, int chunk, int row, string to, bool transposed)
    {
        var (address, distance) = Rows.Locate(chunk);
        ptx.Line($"add.s32 at, {addresses}{address}, {offset}; ldmatrix.sync.aligned.m8n8.x4{(transposed ? ".trans" : "")}.shared.b16 {to}, [at+{distance + (row * Rows.RowBytes)}];");
    }
}
