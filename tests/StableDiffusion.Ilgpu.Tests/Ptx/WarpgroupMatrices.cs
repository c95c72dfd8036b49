using System.Globalization;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What four warps compute together on matrices in shared memory: <c>wgmma</c>, and <c>fence.proxy.async</c> that makes memory ready for it.</summary>
internal static class WarpgroupMatrices
{
    public static Execute Decode(PtxDecoder d)
    {
        string[] form = [.. d.Statement.Parts.Skip(1)];
        switch (form)
        {
            case ["fence", "sync", "aligned"]:
                d.Expect(0);
                return Whole(static warp => warp.Products.Fence());
            case ["commit_group", "sync", "aligned"]:
                d.Expect(0);
                return Whole(static warp => warp.Products.Commit());
            case ["wait_group", "sync", "aligned"]:
                d.Expect(1);
                var left = d.Immediate(0);
                return Whole(warp => warp.Products.Wait(left));
            case ["mma_async", "sync", "aligned", ['m', '6', '4', 'n', .. var columns, 'k', '1', '6'], "f32", "f16", "f16"]
                when int.TryParse(columns, NumberStyles.None, null, out var n) && n % 8 == 0 && n is >= 8 and <= 256:
                return Multiply(d, n);
            default:
                throw d.Fail("this form is not interpreted");
        }
    }

    /// <summary><c>fence.proxy.async</c>: what the lanes wrote to shared memory may be read by <c>wgmma</c>, after a barrier also by that of other warps.</summary>
    public static Execute DecodeFence(PtxDecoder d) => d.Statement.Parts is ["fence", "proxy", "async"] or ["fence", "proxy", "async", "shared::cta"]
        ? static (warp, _) => warp.Block.Shared.Publish(warp.Number)
        : throw d.Fail("this form is not interpreted");

    /// <summary>D = A · B + D, or A · B: A of 64 x 16, B of 16 x columns.</summary>
    private static Execute Multiply(PtxDecoder d, int columns)
    {
        d.Expect(8);
        var targets = d.Vector(0).Select(name => d.Target(name, 32)).ToArray();
        if (targets.Length != columns / 2)
        {
            throw d.Fail($"{targets.Length} registers, {columns / 2} expected");
        }

        if (targets.Distinct().Count() != targets.Length)
        {
            throw d.Fail("a register stands twice among the sums");
        }

        // A may be in registers, and both factors may be negated; no kernel does so.
        if (d.Statement.Operands[1].StartsWith('{') || d.Immediate(4) != 1 || d.Immediate(5) != 1
            || d.Immediate(6) is not (0 or 1) || d.Immediate(7) is not (0 or 1))
        {
            throw d.Fail("this form is not interpreted");
        }

        var (a, b, adds) = (d.Source(1, 64), d.Source(2, 64), d.PredicateSource(3));
        var (transposedA, transposedB) = (d.Immediate(6) == 1, d.Immediate(7) == 1);
        return Whole(warp =>
        {
            warp.Require(adds, uint.MaxValue, "the predicate");
            if (warp.Predicate(adds) is not (0 or uint.MaxValue))
            {
                throw new PtxException("some lanes add, others do not");
            }

            warp.Products.Multiply(targets, Descriptor(warp, a, transposedA), Descriptor(warp, b, transposedB), warp.Predicate(adds) != 0);
        });
    }

    private static MatrixDescriptor Descriptor(Warp warp, Slot slot, bool transposed)
    {
        warp.Require(slot, uint.MaxValue, "the descriptor");
        var descriptor = new MatrixDescriptor(warp.Get<ulong>(slot, 0), transposed);
        for (var lane = 1; lane < Warp.Size; lane++)
        {
            if (warp.Get<ulong>(slot, lane) != descriptor.Bits)
            {
                throw new PtxException($"lane {lane} has another descriptor than lane 0");
            }
        }

        descriptor.Check();
        return descriptor;
    }

    private static Execute Whole(Action<Warp> body) => (warp, mask) =>
    {
        Matrices.RequireWhole(mask);
        body(warp);
    };
}
