namespace StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;

/// <summary>
/// PTX of attention for compute capability 9.0 alone, where every query sees every key (Shah and others 2024, arXiv:2407.08608). <c>cp.async</c> copies tiles
/// of 64 keys and their values to a ring of stages in shared memory; <c>wgmma</c> multiplies from there, 64 queries of each of the group's two warpgroups
/// at a time. Queries, weights and outputs are in registers. Needs the target <c>sm_90a</c>.
/// <para>
/// A tile's part of the outputs and the next tile's scores are begun together and waited for before their scores become weights: what the tensor cores compute
/// meanwhile are other warpgroups' products. Half tiles, the products of one beside the weights of the other, had more instructions and were slower.
/// </para>
/// <para>
/// The two warpgroups need not be at the same place: at the beginning of a tile each tells the other that its copies of the next tile are there and that its
/// products with the one before are done, and at its end waits for the other to have told so. So one's weights are computed beside the other's products. Barriers
/// take turns, since one may tell twice before the other has waited once. The last tile begins scores of one tile too many, from a stage that no copy is on its
/// way to; nobody looks at them.
/// </para>
/// </summary>
internal sealed class WarpgroupAttentionText
{
    private const int TileKeys = WarpgroupAttentionShape.TileKeys;

    private const int Stages = WarpgroupAttentionShape.Stages;

    /// <summary>Tiles of 8 keys in one of 64.</summary>
    private const int KeyTiles = TileKeys / 8;

    /// <summary>Keys of one instruction of the outputs' product.</summary>
    private const int InstructionKeys = 16;

    /// <summary>A descriptor's upper half: the next eight rows' distance in units of 16 bytes, and the swizzle of 64 bytes.</summary>
    private const uint Layout = (2u << 30) | (8 * WarpgroupAttentionShape.RowBytes / 16);

    /// <summary>Of four: in turn two by two, and of these one that the first warpgroup waits at and one that the other does.</summary>
    private const int FirstBarrier = 4;

    /// <summary>In a descriptor's lower half, keys: rows hold their depth without a gap, so that the distance does not count.</summary>
    private const int KeysLayout = 1 << 16;

    /// <summary>In a descriptor's lower half, values: 32 channels further lies the next panel.</summary>
    private const int ValuesLayout = WarpgroupAttentionShape.PanelBytes / 16 << 16;

    private readonly PtxWriter ptx = new();
    private readonly WarpgroupAttentionShape shape;
    private readonly SoftmaxText softmax;
    private readonly PanelCopyText copy;

    public WarpgroupAttentionText(WarpgroupAttentionShape shape)
    {
        this.shape = shape;
        softmax = new SoftmaxText(ptx, 1, shape.Chunks, KeyTiles, keepsScores: true);
        copy = new PanelCopyText(ptx, shape);
    }

    public string Run()
    {
        ptx.Line("{");
        Declare();
        ptx.Line("mov.b32 at_queries, %0; mov.b32 at_keys, %1; mov.f32 scale, %2; mov.b32 shared, %3;");
        ptx.Line("mov.u32 tid, %%tid.x; and.b32 lane, tid, 31; shr.u32 warp, tid, 5;");
        copy.Prepare();
        ReadQueries();
        softmax.Reset();
        ptx.Line($"mov.b32 layout, 0x{Layout:x8}; setp.ne.s32 begins, 0, 0; setp.eq.s32 adds, 0, 0; shr.u32 first, shared, 4;");
        ptx.Line($"shr.u32 t, warp, 2; add.s32 told, t, {FirstBarrier}; xor.b32 toTell, told, 1;");
        Fill();

        ptx.Line("mov.b32 stage, 0; mov.b32 nextStage, 0; mov.b32 firstKey, 0;");
        AwaitTile(Stages - 2);
        BeginScores();
        ptx.Line("wgmma.wait_group.sync.aligned 0;");
        ptx.Line("TILE:");
        Tell();
        ptx.Line($"add.s32 nextKey, firstKey, {TileKeys}; setp.gt.s32 edge, nextKey, at_keys; mov.b32 stage, nextStage;");
        ptx.Line("@edge bra MASK;");
        ptx.Line("MASKED:");
        softmax.LeaveIfLarge(0, "LARGE");
        softmax.Weigh(0, KeyTiles);
        ptx.Line("WEIGHED:");
        softmax.Outgrown(0);
        ptx.Line("@p bra REFER;");
        ptx.Line("COUNT:");
        softmax.Count(0);
        BeginOutputs();
        BeginNextTile();
        ptx.Line("wgmma.wait_group.sync.aligned 0;");
        ptx.Line("mov.b32 firstKey, nextKey; setp.lt.s32 p, firstKey, at_keys; @p bra TILE;");
        ptx.Line("cp.async.wait_all; bar.sync 0;");
        softmax.Store();
        ptx.Line("bra DONE;");
        WriteSeldom();
        ptx.Line("DONE:");
        ptx.Line("}");
        return ptx.ToString();
    }

    private void Declare()
    {
        ptx.Line(".reg .b32 at_queries, at_keys, shared, tid, lane, warp, row, chunk, base, t, u, at, z0, z1, z2, z3;");
        ptx.Line(".reg .b32 first, stage, nextStage, firstKey, nextKey, copyKey, to, layout, told, toTell;");
        ptx.Line(".reg .b64 global, step, matrix; .reg .f32 scale, x, y; .reg .pred p, edge, begins, adds;");
        ptx.Line($".reg .b32 q<{shape.DepthSteps * 4}>;");
        copy.Declare();
        softmax.Declare();
    }

    /// <summary>
    /// As the matrix instruction wants its first operand's rows: lane l has channels 2 * (l % 4) and the next of each 16 in rows l / 4 and l / 4 + 8, then the same
    /// eight channels further. Queries and channels that are not there are zeros.
    /// </summary>
    private void ReadQueries()
    {
        ptx.Line("shr.u32 row, lane, 2; mad.lo.s32 row, warp, 16, row; and.b32 t, lane, 3; mul.wide.u32 step, t, 4; add.s64 step, step, at_query;");
        for (var below = 0; below < 2; below++)
        {
            ptx.Line($"add.s32 t, row, {below * 8}; setp.lt.s32 p, t, at_queries; mul.wide.s32 global, t, at_queryPitch; add.s64 global, global, step;");
            for (var chunk = 0; chunk < shape.DepthSteps * 2; chunk++)
            {
                var register = (chunk * 2) + below;
                ptx.Line($"mov.b32 q{register}, 0;");
                if (chunk < shape.Chunks)
                {
                    ptx.Line($"@p ld.global.b32 q{register}, [global+{chunk * 16}];");
                }
            }
        }
    }

    /// <summary>Begins to copy the first tiles.</summary>
    private void Fill()
    {
        for (var stage = 0; stage < Stages - 1; stage++)
        {
            ptx.Line($"mov.b32 copyKey, {stage * TileKeys}; mov.b32 to, {stage * shape.StageBytes}; setp.ge.s32 p, copyKey, at_keys; @p bra FILLED{stage};");
            copy.Load("to", "copyKey");
            ptx.Line($"FILLED{stage}:");
            ptx.Line("cp.async.commit_group;");
        }
    }

    /// <summary>Until all but so many tiles that were asked for are there for all warps, and for the matrix instruction.</summary>
    private void AwaitTile(int onTheirWay) => ptx.Line($"cp.async.wait_group {onTheirWay}; fence.proxy.async.shared::cta; bar.sync 0;");

    /// <summary>Tells the other warpgroup that the next tile's copies of this one are there, and that the stage of the tile before is no longer used.</summary>
    private void Tell() => ptx.Line(
        $"cp.async.wait_group {Stages - 3}; fence.proxy.async.shared::cta; bar.arrive toTell, {WarpgroupAttentionShape.Threads}; xor.b32 toTell, toTell, 2;");

    /// <summary>Until the other warpgroup has told.</summary>
    private void AwaitOther() => ptx.Line($"bar.sync told, {WarpgroupAttentionShape.Threads}; xor.b32 told, told, 2;");

    /// <summary>What happens to few tiles: keys that do not exist, large logits, and new references.</summary>
    private void WriteSeldom()
    {
        ptx.Line("MASK:");
        softmax.MaskEnd(KeyTiles, "firstKey");
        ptx.Line("bra MASKED;");
        ptx.Line("LARGE:");
        softmax.WeighNear(0, KeyTiles);
        ptx.Line("bra WEIGHED;");
        ptx.Line("REFER:");
        softmax.Refer(0, KeyTiles);
        softmax.WeighNear(0, KeyTiles);
        ptx.Line("bra COUNT;");
    }

    /// <summary>Behind the barrier all have the next tile, and none uses any more the one before this one, whose stage is filled.</summary>
    private void BeginNextTile()
    {
        var end = Stages * shape.StageBytes;
        AwaitOther();
        ptx.Line($"add.s32 nextStage, stage, {shape.StageBytes}; setp.eq.s32 p, nextStage, {end}; selp.b32 nextStage, 0, nextStage, p;");
        BeginScores();
        ptx.Line($"add.s32 copyKey, firstKey, {(Stages - 1) * TileKeys}; setp.ge.s32 p, copyKey, at_keys; @p bra LOADED;");
        ptx.Line($"setp.eq.s32 p, stage, 0; selp.b32 to, {end}, stage, p; sub.s32 to, to, {shape.StageBytes};");
        copy.Load("to", "copyKey");
        ptx.Line("LOADED:");
        ptx.Line("cp.async.commit_group;");
    }

    /// <summary>Begins the scores of the tile in the next stage.</summary>
    private void BeginScores()
    {
        ptx.Line("wgmma.fence.sync.aligned;");
        for (var i = 0; i < shape.DepthSteps; i++)
        {
            var offset = (i / 2 * WarpgroupAttentionShape.PanelBytes) + (i % 2 * 32);
            Find("nextStage", (offset / 16) | KeysLayout);
            ptx.Line(
                $"wgmma.mma_async.sync.aligned.m64n{TileKeys}k16.f32.f16.f16 {PtxWriter.Vector("s", 0, TileKeys / 2)}, "
                + $"{PtxWriter.Vector("q", i * 4, 4)}, matrix, {(i == 0 ? "begins" : "adds")}, 1, 1, 0;");
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
    }

    /// <summary>Begins the tile's part of the outputs.</summary>
    private void BeginOutputs()
    {
        ptx.Line("wgmma.fence.sync.aligned;");
        for (var key = 0; key < TileKeys; key += InstructionKeys)
        {
            Find("stage", ((shape.ValuesOffset + (key * WarpgroupAttentionShape.RowBytes)) / 16) | ValuesLayout);
            ptx.Line(
                $"wgmma.mma_async.sync.aligned.m64n{shape.HeadSize}k16.f32.f16.f16 {PtxWriter.Vector("o", 0, shape.HeadSize / 2)}, "
                + $"{PtxWriter.Vector("w", key / 4, 4)}, matrix, adds, 1, 1, 1;");
        }

        ptx.Line("wgmma.commit_group.sync.aligned;");
    }

    /// <summary>The descriptor of what begins in a stage at what its lower half says.</summary>
    private void Find(string stage, int lower) => ptx.Line($"shr.u32 t, {stage}, 4; add.s32 t, t, first; add.s32 t, t, {lower}; mov.b64 matrix, {{t, layout}};");
}
