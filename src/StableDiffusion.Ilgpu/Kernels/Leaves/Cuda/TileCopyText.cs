namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX that 128 work-items copy a tile of 64 keys with, and its values behind it, with <c>cp.async</c>. At a time, eight lanes take the same chunk
/// of eight rows, so that their 16 bytes go to different banks; the warp's other lanes take the chunks beside it, as many as the row has: four, then
/// two, then one that may be left. A work-item keeps its rows and chunks, so that most addresses are a register and a constant.
/// <para>
/// Expects registers tid, lane, warp, chunk, t, u, at, global and step (64 bits), p, keysLeft (keys that are not copied yet), at_key, at_value and
/// their pitches in bytes. Keys that are not there become zeros.
/// </para>
/// </summary>
internal sealed class TileCopyText(PtxText ptx, SharedRows rows)
{
    private const int TileKeys = TensorAttentionShape.TileKeys;

    /// <summary>Rows that all work-items copy four chunks of at a time.</summary>
    private const int PassRows = 32;

    private int Fours => rows.Chunks / 4;

    private bool HasTwo => rows.Chunks % 4 >= 2;

    private bool HasOne => rows.Chunks % 2 == 1;

    private int ValuesOffset => TileKeys * rows.RowBytes;

    public void Declare() => ptx.Line(
        ".reg .b64 keys4, values4, keys2, values2, either1, keyStep, valueStep, eitherStep; .reg .b32 row4, row2, row1, copy4, copy4b, copy2, copy1, size;");

    public void Prepare()
    {
        ptx.Line($"mul.wide.s32 keyStep, at_keyPitch, {TileKeys}; mul.wide.s32 valueStep, at_valuePitch, {TileKeys};");
        if (Fours > 0)
        {
            ptx.Line("and.b32 row4, lane, 7; mad.lo.s32 row4, warp, 8, row4; shr.u32 chunk, lane, 3;");
            Find("row4", "keys4", "values4", "copy4");
            if (rows.Period == 8)
            {
                ptx.Line("xor.b32 copy4b, copy4, 64;");
            }
        }

        if (HasTwo)
        {
            ptx.Line("shr.u32 row2, lane, 4; shl.b32 row2, row2, 3; and.b32 t, lane, 7; or.b32 row2, row2, t; mad.lo.s32 row2, warp, 16, row2;");
            ptx.Line("shr.u32 chunk, lane, 3; and.b32 chunk, chunk, 1;");
            Find("row2", "keys2", "values2", "copy2");
        }

        if (HasOne)
        {
            // Two warps take the keys', the other two the values'.
            ptx.Line("and.b32 row1, tid, 63; mov.b32 chunk, 0;");
            Find("row1", "either1", "global", "copy1");
            ptx.Line("setp.ge.s32 p, tid, 64; selp.b64 either1, global, either1, p; selp.b64 eitherStep, valueStep, keyStep, p;");
            ptx.Line($"selp.b32 t, {ValuesOffset}, 0, p; add.s32 copy1, copy1, t;");
        }
    }

    /// <summary>Copies the next tile to the address in register <paramref name="stage"/>.</summary>
    public void Load(string stage)
    {
        for (var row = 0; row < TileKeys && Fours > 0; row += PassRows)
        {
            Guard("row4", row);
            foreach (var (source, pitch, offset) in Operands("4"))
            {
                ptx.Line($"mul.wide.s32 global, {pitch}, {row}; add.s64 global, global, {source};");
                for (var i = 0; i < Fours; i++)
                {
                    // The exchange of chunks reaches into the next four where rows have eight, or twice or thrice that.
                    var (place, first) = rows.Period == 8 && i % 2 == 1 ? ("copy4b", i - 1) : ("copy4", i);
                    Copy(stage, place, offset + (row * rows.RowBytes) + (first * 64), "global", i * 64);
                }
            }
        }

        if (HasTwo)
        {
            Guard("row2", 0);
            foreach (var (source, _, offset) in Operands("2"))
            {
                Copy(stage, "copy2", offset + (Fours * 64), source, Fours * 64);
            }
        }

        if (HasOne)
        {
            Guard("row1", 0);
            Copy(stage, "copy1", (rows.Chunks - 1) * 16, "either1", (rows.Chunks - 1) * 16);
        }

        ptx.Line($"sub.s32 keysLeft, keysLeft, {TileKeys};");
        Advance();
    }

    private void Advance()
    {
        if (Fours > 0)
        {
            ptx.Line("add.s64 keys4, keys4, keyStep; add.s64 values4, values4, valueStep;");
        }

        if (HasTwo)
        {
            ptx.Line("add.s64 keys2, keys2, keyStep; add.s64 values2, values2, valueStep;");
        }

        if (HasOne)
        {
            ptx.Line("add.s64 either1, either1, eitherStep;");
        }
    }

    /// <summary>Where a chunk of a row lies in keys and values, and where it goes to in a stage.</summary>
    private void Find(string row, string keys, string values, string place)
    {
        ptx.Line($"mul.wide.u32 step, chunk, 16; mul.wide.s32 {keys}, {row}, at_keyPitch; mul.wide.s32 {values}, {row}, at_valuePitch;");
        ptx.Line($"add.s64 {keys}, {keys}, step; add.s64 {keys}, {keys}, at_key; add.s64 {values}, {values}, step; add.s64 {values}, {values}, at_value;");
        rows.Exchange(ptx, "t", row);
        ptx.Line($"xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 {place}, {row}, {rows.RowBytes}, t;");
    }

    private IEnumerable<(string Source, string Pitch, int Offset)> Operands(string chunks) =>
        [("keys" + chunks, "at_keyPitch", 0), ("values" + chunks, "at_valuePitch", ValuesOffset)];

    private void Guard(string row, int distance) =>
        ptx.Line($"sub.s32 t, keysLeft, {distance}; setp.lt.s32 p, {row}, t; selp.b32 size, 16, 0, p;");

    private void Copy(string stage, string place, int placeOffset, string source, int sourceOffset) =>
        ptx.Line($"add.s32 at, {stage}, {place}; cp.async.cg.shared.global.L2::128B [at+{placeOffset}], [{source}+{sourceOffset}], 16, size;");
}
