using System.Numerics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>What copies or chooses bits: <c>mov</c>, <c>cvta</c>, <c>selp</c>, <c>slct</c>, <c>prmt</c>, and what has no effect here.</summary>
internal static unsafe class Moves
{
    public static Execute? Decode(PtxDecoder d)
    {
        var bits = Lanes.Bits(d.Type);
        switch (d.Name)
        {
            case "mov" when d.Statement.Operands[0].StartsWith('{'):
                return Unpack(d, bits);
            case "mov" when d.Statement.Operands[1].StartsWith('{'):
                return Pack(d, bits);
            case "mov":
                d.Allow();
                d.Expect(2);
                return bits == 1 ? MovePredicate(d.Predicate(0), d.PredicateSource(1)) : Move(d.Target(0, bits), d.Source(1, bits));
            case "cvta":
                d.Allow("to", "global", "shared");
                return d.Has("global") || d.Has("to") ? Move(d.Target(0, bits), d.Source(1, bits)) : throw d.Fail("the generic address space is not interpreted");
            case "selp":
                d.Allow();
                d.Expect(4);
                return Select(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.PredicateSource(3));
            case "slct":
                return Slct(d, bits);
            case "prmt":
                d.Allow();
                d.Expect(4);
                return Lanes.Map<uint, uint, uint, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), d.Source(3, 32), Permute);
            case "membar" or "fence" or "nop":
                return (_, _) => { };
            default:
                return null;
        }
    }

    private static Execute Move(Slot target, Slot source) => target.IsWide
        ? Lanes.Map<ulong>(target, source, static a => a) : Lanes.Map<uint>(target, source, static a => a);

    private static Execute MovePredicate(Slot target, Slot source) => (warp, mask) =>
    {
        ref var result = ref warp.Predicate(target);
        result = (result & ~mask) | (warp.Predicate(source) & mask);
        warp.Define(target, mask, warp.Defined[source.Index]);
    };

    private static Execute Select(Slot target, Slot a, Slot b, Slot predicate) => (warp, mask) =>
    {
        var chosen = warp.Predicate(predicate);
        for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            var source = (chosen >> lane & 1) != 0 ? a : b;
            if (target.IsWide)
            {
                Warp.Set(warp.Registers + target.Offset, lane, warp.Get<ulong>(source, lane));
            }
            else
            {
                Warp.Set(warp.Registers + target.Offset, lane, warp.Get<uint>(source, lane));
            }
        }

        warp.Define(target, mask, warp.Defined[predicate.Index] & ((chosen & warp.Defined[a.Index]) | (~chosen & warp.Defined[b.Index])));
    };

    /// <summary>The first where a third operand is not negative.</summary>
    private static Execute Slct(PtxDecoder d, int sourceBits)
    {
        d.Expect(4);
        if (d.Statement.Parts.Length != 3 || d.Type is not ("s32" or "f32"))
        {
            throw d.Fail("only slct.type.s32 and slct.type.f32 are interpreted");
        }

        var bits = Lanes.Bits(d.Statement.Parts[1]);
        var (target, a, b, c) = (d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, sourceBits));
        return (bits == 64, d.Type) switch
        {
            (false, "s32") => Lanes.Map<uint, uint, int, uint>(target, a, b, c, static (x, y, z) => z >= 0 ? x : y),
            (false, _) => Lanes.Map<uint, uint, float, uint>(target, a, b, c, static (x, y, z) => z >= 0 ? x : y),
            (true, "s32") => Lanes.Map<ulong, ulong, int, ulong>(target, a, b, c, static (x, y, z) => z >= 0 ? x : y),
            _ => Lanes.Map<ulong, ulong, float, ulong>(target, a, b, c, static (x, y, z) => z >= 0 ? x : y),
        };
    }

    /// <summary><c>mov {a, b, …}, r</c>: the lowest bits first.</summary>
    private static Execute Unpack(PtxDecoder d, int bits)
    {
        var names = d.Vector(0);
        var (part, source) = (bits / names.Length, d.Source(1, bits));
        var targets = names.Select(n => d.Target(n, part)).ToArray();
        return (warp, mask) =>
        {
            for (var i = 0; i < targets.Length; i++)
            {
                for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
                {
                    var lane = BitOperations.TrailingZeroCount(lanes);
                    var value = warp.Unsigned(source, lane) >> (i * part);
                    Warp.Set(warp.Registers + targets[i].Offset, lane, (uint)(part == 32 ? value : value & ((1UL << part) - 1)));
                }

                warp.Define(targets[i], mask, warp.Defined[source.Index]);
            }
        };
    }

    private static Execute Pack(PtxDecoder d, int bits)
    {
        var names = d.Vector(1);
        var (part, target) = (bits / names.Length, d.Target(0, bits));
        var sources = names.Select(n => d.Source(n, part)).ToArray();
        return (warp, mask) =>
        {
            var defined = mask;
            foreach (var source in sources)
            {
                defined &= warp.Defined[source.Index];
            }

            for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                var (lane, value) = (BitOperations.TrailingZeroCount(lanes), 0UL);
                for (var i = 0; i < sources.Length; i++)
                {
                    value |= warp.Unsigned(sources[i], lane) << (i * part);
                }

                if (target.IsWide)
                {
                    Warp.Set(warp.Registers + target.Offset, lane, value);
                }
                else
                {
                    Warp.Set(warp.Registers + target.Offset, lane, (uint)value);
                }
            }

            warp.Define(target, mask, defined);
        };
    }

    /// <summary>Each digit of the selector names a byte of b:a; its highest bit asks for that byte's sign.</summary>
    private static uint Permute(uint a, uint b, uint selector)
    {
        var (bytes, result) = (((ulong)b << 32) | a, 0u);
        for (var i = 0; i < 4; i++)
        {
            var digit = selector >> (4 * i) & 15;
            var value = (uint)(bytes >> (int)(8 * (digit & 7))) & 255;
            result |= ((digit & 8) == 0 ? value : (value & 128) != 0 ? 255u : 0) << (8 * i);
        }

        return result;
    }
}
