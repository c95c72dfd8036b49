using System.Globalization;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What four warps compute together on matrices in shared memory: <c>wgmma</c>, and <c>fence.proxy.async</c> that makes memory ready for it.</summary>
internal static class WarpgroupMatrices
{
    /// <summary>Of A, two values each.</summary>
    private const int FactorRegisters = 4;

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

    /// <summary>D = A · B + D, or A · B: A of 64 x 16, in shared memory or in four registers, B of 16 x columns.</summary>
    private static Execute Multiply(PtxDecoder d, int columns)
    {
        var inRegisters = d.Count > 1 && d.Statement.Operands[1].StartsWith('{');
        d.Expect(inRegisters ? 7 : 8);
        var targets = Registers(d, 0, columns / 2);
        if (targets.Distinct().Count() != targets.Length)
        {
            throw d.Fail("a register stands twice among the sums");
        }

        // Both factors may be negated; no kernel does so. A is transposed in shared memory only.
        var last = d.Count - 1;
        if (d.Immediate(4) != 1 || d.Immediate(5) != 1 || d.Immediate(6) is not (0 or 1) || d.Immediate(last) is not (0 or 1))
        {
            throw d.Fail("this form is not interpreted");
        }

        var (b, adds, transposedB) = (d.Source(2, 64), d.PredicateSource(3), d.Immediate(last) == 1);
        if (inRegisters)
        {
            var factors = Registers(d, 1, FactorRegisters);
            if (factors.Intersect(targets).Any())
            {
                throw d.Fail("a register stands among the sums and among the factors");
            }

            return Whole(warp => warp.Products.Multiply(targets, factors, Descriptor(warp, b, transposedB), Adds(warp, adds)));
        }

        var (a, transposedA) = (d.Source(1, 64), d.Immediate(6) == 1);
        return Whole(warp => warp.Products.Multiply(targets, Descriptor(warp, a, transposedA), Descriptor(warp, b, transposedB), Adds(warp, adds)));
    }

    private static Slot[] Registers(PtxDecoder d, int operand, int count)
    {
        Slot[] registers = [.. d.Vector(operand).Select(name => d.Target(name, 32))];
        return registers.Length == count ? registers : throw d.Fail($"{registers.Length} registers, {count} expected");
    }

    private static bool Adds(Warp warp, Slot predicate)
    {
        warp.Require(predicate, uint.MaxValue, "the predicate");
        return warp.Predicate(predicate) is 0 or uint.MaxValue
            ? warp.Predicate(predicate) != 0
            : throw new PtxException("some lanes add, others do not");
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
