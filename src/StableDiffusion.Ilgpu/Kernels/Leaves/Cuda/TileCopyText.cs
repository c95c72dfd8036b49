namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX that 128 work-items copy a tile of 64 keys with, and its values behind it, with <c>cp.async</c>. At a time, eight lanes take the same chunk
/// of eight rows, so that their 16 bytes go to different banks; the warp's other lanes take the chunks beside it, as many as the row has: four, then
/// two, then one that may be left. A work-item keeps its rows and chunks, so that most addresses are a register and a constant.
/// <para>
/// Expects registers tid, lane, warp, chunk, row, t, u, at, global and step (64 bits), p, at_keys, at_key, at_value and their pitches in bytes. Keys that
/// are not there become zeros. An item's keys and values take less than 2 GB each.
/// </para>
/// </summary>
internal sealed class TileCopyText(PtxWriter ptx, SharedRows rows)
{
    private const int TileKeys = TensorAttentionShape.TileKeys;

    /// <summary>Rows that all work-items copy four chunks of at a time.</summary>
    private const int PassRows = 32;

    private int Fours => rows.Chunks / 4;

    private bool HasTwo => rows.Chunks % 4 >= 2;

    private bool HasOne => rows.Chunks % 2 == 1;

    private int ValuesOffset => TileKeys * rows.RowBytes;

    /// <summary>For four, two and one chunks: the work-item's row of the tile, its chunk in bytes, and where that goes to in a stage.</summary>
    public void Declare() =>
        ptx.Line(".reg .b32 row4, part4, to4, to4b, row2, part2, to2, row1, to1, pitch1, size; .reg .b64 source1;");

    public void Prepare()
    {
        if (Fours > 0)
        {
            ptx.Line("and.b32 row4, lane, 7; mad.lo.s32 row4, warp, 8, row4; shr.u32 chunk, lane, 3; shl.b32 part4, chunk, 4;");
            Place("to4", "row4");
            if (rows.Period == 8)
            {
                ptx.Line("xor.b32 to4b, to4, 64;");
            }
        }

        if (HasTwo)
        {
            ptx.Line("shr.u32 row2, lane, 4; shl.b32 row2, row2, 3; and.b32 t, lane, 7; or.b32 row2, row2, t; mad.lo.s32 row2, warp, 16, row2;");
            ptx.Line("shr.u32 chunk, lane, 3; and.b32 chunk, chunk, 1; shl.b32 part2, chunk, 4;");
            Place("to2", "row2");
        }

        if (HasOne)
        {
            // Two warps take the keys', the other two the values'.
            ptx.Line("and.b32 row1, tid, 63; setp.ge.s32 p, tid, 64; selp.b64 source1, at_value, at_key, p; selp.b32 pitch1, at_valuePitch, at_keyPitch, p;");
            ptx.Line($"selp.b32 to1, {ValuesOffset}, 0, p; mad.lo.s32 to1, row1, {rows.RowBytes}, to1;");
        }
    }

    /// <summary>Copies the tile from key <paramref name="firstKey"/> on to address <paramref name="stage"/>, both of them registers.</summary>
    public void Load(string stage, string firstKey)
    {
        for (var distance = 0; distance < TileKeys && Fours > 0; distance += PassRows)
        {
            ptx.Line($"add.s32 row, row4, {firstKey}; add.s32 row, row, {distance};");
            Guard();
            foreach (var (source, pitch, offset) in Operands)
            {
                Find(source, pitch, "part4");
                for (var i = 0; i < Fours; i++)
                {
                    // Chunks are exchanged beyond their four only where they are eight.
                    var (place, first) = rows.Period == 8 && i % 2 == 1 ? ("to4b", i - 1) : ("to4", i);
                    Copy(stage, place, offset + (distance * rows.RowBytes) + (first * 64), i * 64);
                }
            }
        }

        if (HasTwo)
        {
            ptx.Line($"add.s32 row, row2, {firstKey};");
            Guard();
            foreach (var (source, pitch, offset) in Operands)
            {
                Find(source, pitch, "part2");
                Copy(stage, "to2", offset + (Fours * 64), Fours * 64);
            }
        }

        if (HasOne)
        {
            ptx.Line($"add.s32 row, row1, {firstKey};");
            Guard();
            Find("source1", "pitch1", "0");
            Copy(stage, "to1", (rows.Chunks - 1) * 16, (rows.Chunks - 1) * 16);
        }
    }

    private IEnumerable<(string Source, string Pitch, int Offset)> Operands => [("at_key", "at_keyPitch", 0), ("at_value", "at_valuePitch", ValuesOffset)];

    private void Place(string to, string row)
    {
        rows.Exchange(ptx, "t", row);
        ptx.Line($"xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 {to}, {row}, {rows.RowBytes}, t;");
    }

    private void Guard() => ptx.Line("setp.lt.s32 p, row, at_keys; selp.b32 size, 16, 0, p;");

    private void Find(string source, string pitch, string part) =>
        ptx.Line($"mad.lo.s32 t, row, {pitch}, {part}; cvt.u64.u32 global, t; add.s64 global, global, {source};");

    private void Copy(string stage, string place, int placeOffset, int sourceOffset) =>
        ptx.Line($"add.s32 at, {stage}, {place}; cp.async.cg.shared.global.L2::128B [at+{placeOffset}], [global+{sourceOffset}], 16, size;");
}
