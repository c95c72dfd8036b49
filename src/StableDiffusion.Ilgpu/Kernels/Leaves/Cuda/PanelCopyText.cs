namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX that 256 work-items copy a tile of 64 keys and their values with, to the panels of <see cref="WarpgroupAttentionShape"/>, with <c>cp.async</c>.
/// As in <see cref="TileCopyText"/>, eight lanes take the same chunk of eight rows, so that their 16 bytes go to different banks: full panels' four chunks side by
/// side, then two, then one that may be left.
/// <para>
/// Expects registers tid, lane, warp, chunk, t, at and global (64 bits), p, shared, at_keys, at_key, at_value and their pitches in bytes. Keys that are not
/// there become zeros, and so does what follows the last chunk of an odd number: the matrix instruction's last step goes on there.
/// </para>
/// </summary>
internal sealed class PanelCopyText(PtxWriter ptx, WarpgroupAttentionShape shape)
{
    private const int TileKeys = WarpgroupAttentionShape.TileKeys;

    private const int RowBytes = WarpgroupAttentionShape.RowBytes;

    private const int PanelBytes = WarpgroupAttentionShape.PanelBytes;

    private int Fours => shape.Chunks / 4;

    private bool HasTwo => shape.Chunks % 4 >= 2;

    private bool HasOne => shape.Chunks % 2 == 1;

    /// <summary>
    /// For four, two and one chunks: the work-item's row of the tile, where its chunk comes from, how much further in the next tile, and where it goes to in the
    /// first stage.
    /// </summary>
    public void Declare()
    {
        ptx.Line(".reg .b32 size, left, row4, keyStep4, valueStep4, to4, row2, step2, to2, row1, step1, to1; .reg .b64 key4, value4, source2, source1;");
        ptx.Line(".reg .pred one;");
    }

    public void Prepare()
    {
        if (Fours > 0)
        {
            ptx.Line("and.b32 row4, lane, 7; mad.lo.s32 row4, warp, 8, row4; shr.u32 chunk, lane, 3;");
            ptx.Line("mul.wide.u32 global, chunk, 16; add.s64 value4, global, at_value; add.s64 key4, global, at_key;");
            ptx.Line("mad.wide.u32 key4, row4, at_keyPitch, key4; mad.wide.u32 value4, row4, at_valuePitch, value4;");
            ptx.Line($"mul.lo.s32 keyStep4, at_keyPitch, {TileKeys}; mul.lo.s32 valueStep4, at_valuePitch, {TileKeys};");
            Place("to4", "row4");
        }

        if (HasTwo)
        {
            // Four warps take the keys', the other four the values'.
            ptx.Line("shr.u32 row2, tid, 4; and.b32 row2, row2, 7; and.b32 t, lane, 7; mad.lo.s32 row2, row2, 8, t; shr.u32 chunk, lane, 3; and.b32 chunk, chunk, 1;");
            Place("to2", "row2");
            ptx.Line("setp.ge.s32 p, tid, 128; selp.b64 source2, at_value, at_key, p; selp.b32 step2, at_valuePitch, at_keyPitch, p;");
            ptx.Line($"mad.wide.u32 source2, row2, step2, source2; mul.lo.s32 step2, step2, {TileKeys};");
            ptx.Line($"mul.wide.u32 global, chunk, 16; add.s64 source2, source2, global; add.s64 source2, source2, {Fours * RowBytes};");
            ptx.Line($"selp.b32 t, {shape.ValuesOffset + (Fours * PanelBytes)}, {Fours * PanelBytes}, p; add.s32 to2, to2, t;");
        }

        if (HasOne)
        {
            // Two warps take the keys', two the values'; the other four fill with zeros what follows in either.
            var last = shape.Chunks - 1;
            ptx.Line($"setp.lt.s32 one, tid, 128; selp.b32 chunk, {last % 4}, {(last % 4) + 1}, one; and.b32 row1, tid, 63;");
            Place("to1", "row1");
            ptx.Line("and.b32 t, tid, 64; setp.ne.s32 p, t, 0; selp.b64 source1, at_value, at_key, p; selp.b32 step1, at_valuePitch, at_keyPitch, p;");
            ptx.Line($"mad.wide.u32 source1, row1, step1, source1; add.s64 source1, source1, {last * 16}; mul.lo.s32 step1, step1, {TileKeys};");
            ptx.Line($"selp.b32 t, {shape.ValuesOffset + (last / 4 * PanelBytes)}, {last / 4 * PanelBytes}, p; add.s32 to1, to1, t;");
        }
    }

    /// <summary>
    /// Copies the next tile, which begins at key <paramref name="firstKey"/>, to the stage that begins so many bytes from <c>shared</c> on, both of them registers.
    /// </summary>
    public void Load(string stage, string firstKey)
    {
        ptx.Line($"sub.s32 left, at_keys, {firstKey};");
        if (Fours > 0)
        {
            ptx.Line($"setp.lt.s32 p, row4, left; selp.b32 size, 16, 0, p; add.s32 at, {stage}, to4;");
            foreach (var (source, step, offset) in ((string, string, int)[])[("key4", "keyStep4", 0), ("value4", "valueStep4", shape.ValuesOffset)])
            {
                for (var i = 0; i < Fours; i++)
                {
                    Copy(source, offset + (i * PanelBytes), i * RowBytes);
                }

                Advance(source, step);
            }
        }

        if (HasTwo)
        {
            ptx.Line($"setp.lt.s32 p, row2, left; selp.b32 size, 16, 0, p; add.s32 at, {stage}, to2;");
            Copy("source2", 0, 0);
            Advance("source2", "step2");
        }

        if (HasOne)
        {
            ptx.Line($"setp.lt.and.s32 p, row1, left, one; selp.b32 size, 16, 0, p; add.s32 at, {stage}, to1;");
            Copy("source1", 0, 0);
            Advance("source1", "step1");
        }
    }

    /// <summary>Register <paramref name="to"/> becomes the address of a row's <c>chunk</c> in the first stage's first panel.</summary>
    private void Place(string to, string row) =>
        ptx.Line($"shr.u32 t, {row}, 1; and.b32 t, t, 3; xor.b32 t, t, chunk; shl.b32 t, t, 4; mad.lo.s32 {to}, {row}, {RowBytes}, t; add.s32 {to}, {to}, shared;");

    private void Copy(string source, int offset, int sourceOffset) =>
        ptx.Line($"cp.async.cg.shared.global.L2::128B [at+{offset}], [{source}+{sourceOffset}], 16, size;");

    private void Advance(string source, string step) => ptx.Line($"cvt.u64.u32 global, {step}; add.s64 {source}, {source}, global;");
}
