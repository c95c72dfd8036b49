using System.Numerics;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Integer arithmetic, and logic on bits and predicates.</summary>
internal static unsafe class Integers
{
    public static Execute? Decode(PtxDecoder d) => d.Type switch
    {
        "s16" => Typed<short>(d) ?? Wide<short, int>(d),
        "u16" => Typed<ushort>(d) ?? Wide<ushort, uint>(d),
        "b16" => Typed<ushort>(d),
        "s32" => Typed<int>(d) ?? Wide<int, long>(d),
        "u32" => Typed<uint>(d) ?? Wide<uint, ulong>(d),
        "b32" => Bits32(d) ?? Typed<uint>(d),
        "s64" => Typed<long>(d),
        "u64" or "b64" => Typed<ulong>(d),
        "pred" => Predicates(d),
        _ => null,
    };

    private static unsafe Execute? Typed<T>(PtxDecoder d) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        var bits = sizeof(T) * 8;
        switch (d.Name)
        {
            case "mul" or "mad" when d.Has("wide"):
                return null;
            case "mul" or "mad" when d.Has("hi"):
                d.Allow("hi");
                return d.Name == "mul" ? Binary<T>(d, High) : Lanes.Map<T, T, T, T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, bits), static (a, b, c) => High(a, b) + c);
            case "mad":
                d.Allow("lo");
                d.Expect(4);
                return bits >= 32
                    ? Lanes.Map<T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, bits), static (a, b, c) => (a * b) + c)
                    : Lanes.Map<T, T, T, T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, bits), static (a, b, c) => (a * b) + c);
            case "shl":
                return Shift<T>(d, static (a, n) => n >= Size<T>() ? T.Zero : a << (int)n);
            case "shr":
                return Shift<T>(d, static (a, n) => n < Size<T>() ? a >> (int)n : T.IsNegative(a) ? T.AllBitsSet : T.Zero);
            case "popc":
                return Count<T>(d, static a => uint.CreateTruncating(T.PopCount(a)));
            case "clz":
                return Count<T>(d, static a => uint.CreateTruncating(T.LeadingZeroCount(a)));
            case "bfe":
                d.Allow();
                return Lanes.Map<T, uint, uint, T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, 32), d.Source(3, 32), Extract);
            case "bfi":
                d.Allow();
                return Lanes.Map<T>(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), d.Source(3, 32), d.Source(4, 32), Insert);
            case "abs":
                return Unary<T>(d, static a => T.IsNegative(a) ? T.Zero - a : a);
            case "neg":
                return Unary<T>(d, static a => T.Zero - a);
            case "not":
                return Unary<T>(d, static a => ~a);
            case "cnot":
                return Unary<T>(d, static a => a == T.Zero ? T.One : T.Zero);
            case "brev":
                return Unary<T>(d, Reverse);
        }

        Func<T, T, T>? f = d.Name switch
        {
            "add" => static (a, b) => a + b,
            "sub" => static (a, b) => a - b,
            "mul" => static (a, b) => a * b,

            // What the result is after a division by zero, PTX leaves open.
            "div" => static (a, b) => b == T.Zero ? T.AllBitsSet : T.IsNegative(b) && b == T.AllBitsSet ? T.Zero - a : a / b,
            "rem" => static (a, b) => b == T.Zero ? T.AllBitsSet : T.IsNegative(b) && b == T.AllBitsSet ? T.Zero : a % b,
            "min" => T.Min,
            "max" => T.Max,
            "and" => static (a, b) => a & b,
            "or" => static (a, b) => a | b,
            "xor" => static (a, b) => a ^ b,
            _ => null,
        };
        if (f is null)
        {
            return null;
        }

        d.Allow(d.Name == "mul" ? "lo" : "");
        if (bits >= 32 && VectorOf<T>(d.Name) is { } vector)
        {
            d.Expect(3);
            return Lanes.Map(d.Target(0, bits), d.Source(1, bits), d.Source(2, bits), vector);
        }

        return Binary(d, f);
    }

    private static Func<Vector256<T>, Vector256<T>, Vector256<T>>? VectorOf<T>(string name) => name switch
    {
        "add" => static (a, b) => a + b,
        "sub" => static (a, b) => a - b,
        "mul" => static (a, b) => a * b,
        "and" => static (a, b) => a & b,
        "or" => static (a, b) => a | b,
        "xor" => static (a, b) => a ^ b,
        "min" => static (a, b) => Vector256.Min(a, b),
        "max" => static (a, b) => Vector256.Max(a, b),
        _ => null,
    };

    private static Execute? Bits32(PtxDecoder d)
    {
        if (d.Name == "lop3")
        {
            d.Allow();
            d.Expect(5);
            var table = d.Immediate(4);
            return Lanes.Map<uint, uint, uint, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), d.Source(3, 32), (a, b, c) =>
            {
                var result = 0u;
                for (var i = 0; i < 8; i++)
                {
                    if ((table >> i & 1) != 0)
                    {
                        result |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
                    }
                }

                return result;
            });
        }

        if (d.Name == "shf")
        {
            d.Allow("l", "r", "wrap", "clamp");
            d.Expect(4);
            var (left, wrap) = (d.Has("l"), d.Has("wrap"));
            return Lanes.Map<uint, uint, uint, uint>(d.Target(0, 32), d.Source(1, 32), d.Source(2, 32), d.Source(3, 32), (a, b, n) =>
            {
                var (both, shift) = (((ulong)b << 32) | a, (int)(wrap ? n & 31 : Math.Min(n, 32)));
                return (uint)(left ? both << shift >> 32 : both >> shift);
            });
        }

        return null;
    }

    /// <summary>Products of twice the bits.</summary>
    private static Execute? Wide<T, TWide>(PtxDecoder d)
        where T : unmanaged, IBinaryInteger<T>
        where TWide : unmanaged, IBinaryInteger<TWide>
    {
        if (d.Name is not ("mul" or "mad"))
        {
            return null;
        }

        d.Allow("wide");
        var (bits, wide) = (sizeof(T) * 8, sizeof(TWide) * 8);
        var (target, a, b) = (d.Target(0, wide), d.Source(1, bits), d.Source(2, bits));
        return d.Name == "mul" ? WideProduct<T, TWide>(target, a, b)
            : Lanes.Map<T, T, TWide, TWide>(target, a, b, d.Source(3, wide), static (x, y, z) => (TWide.CreateTruncating(x) * TWide.CreateTruncating(y)) + z);
    }

    private static Execute WideProduct<T, TWide>(Slot target, Slot a, Slot b)
        where T : unmanaged, IBinaryInteger<T>
        where TWide : unmanaged, IBinaryInteger<TWide> => (warp, mask) =>
        {
            byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset, second = warp.Registers + b.Offset;
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    Lanes.Set(pointer, lane, TWide.CreateTruncating(Warp.Get<T>(first, lane)) * TWide.CreateTruncating(Warp.Get<T>(second, lane)));
                }
            }

            warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index]);
        };

    private static Execute? Predicates(PtxDecoder d)
    {
        Func<uint, uint, uint>? f = d.Name switch
        {
            "and" => static (a, b) => a & b,
            "or" => static (a, b) => a | b,
            "xor" => static (a, b) => a ^ b,
            "not" => static (a, _) => ~a,
            _ => null,
        };
        if (f is null)
        {
            return null;
        }

        d.Allow();
        d.Expect(d.Name == "not" ? 2 : 3);
        var (target, a, b) = (d.Predicate(0), d.PredicateSource(1), d.PredicateSource(d.Count - 1));
        return (warp, mask) =>
        {
            ref var result = ref warp.Predicate(target);
            result = (result & ~mask) | (f(warp.Predicate(a), warp.Predicate(b)) & mask);
            warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index]);
        };
    }

    private static Execute Unary<T>(PtxDecoder d, Func<T, T> f) where T : unmanaged
    {
        d.Allow();
        d.Expect(2);
        return Lanes.Map(d.Target(0, sizeof(T) * 8), d.Source(1, sizeof(T) * 8), f);
    }

    private static Execute Count<T>(PtxDecoder d, Func<T, uint> f) where T : unmanaged
    {
        d.Allow();
        d.Expect(2);
        return Lanes.Map(d.Target(0, 32), d.Source(1, sizeof(T) * 8), f);
    }

    private static Execute Binary<T>(PtxDecoder d, Func<T, T, T> f) where T : unmanaged
    {
        d.Expect(3);
        return Lanes.Map(d.Target(0, sizeof(T) * 8), d.Source(1, sizeof(T) * 8), d.Source(2, sizeof(T) * 8), f);
    }

    private static Execute Shift<T>(PtxDecoder d, Func<T, uint, T> f) where T : unmanaged
    {
        d.Allow();
        d.Expect(3);
        if (sizeof(T) >= sizeof(int) && int.TryParse(d.Statement.Operands[2], out var n) && n >= 0 && n < Size<T>())
        {
            return Lanes.Map<T>(d.Target(0, sizeof(T) * 8), d.Source(1, sizeof(T) * 8), d.Name == "shl" ? a => a << n : a => a >> n);
        }

        return Lanes.Map(d.Target(0, sizeof(T) * 8), d.Source(1, sizeof(T) * 8), d.Source(2, 32), f);
    }

    private static uint Size<T>() where T : unmanaged => (uint)sizeof(T) * 8;

    private static T High<T>(T a, T b) where T : unmanaged, IBinaryInteger<T> =>
        sizeof(T) == sizeof(int) ? T.CreateTruncating((long.CreateTruncating(a) * long.CreateTruncating(b)) >> 32)
            : T.CreateTruncating((BigInteger.CreateChecked(a) * BigInteger.CreateChecked(b)) >> (sizeof(T) * 8));

    /// <summary>Bits from a position on; beyond the highest one, and with a sign for signed types, the field's highest bit again.</summary>
    private static T Extract<T>(T value, uint position, uint length) where T : unmanaged, IBinaryInteger<T>, IMinMaxValue<T>
    {
        var (bits, result) = (Size<T>(), T.Zero);
        (position, length) = (position & 255, length & 255);
        var signed = T.IsNegative(T.MinValue);
        var sign = signed && length != 0 && (value >> (int)Math.Min(position + length - 1, bits - 1) & T.One) != T.Zero;
        for (var i = 0u; i < bits; i++)
        {
            var bit = i < length && position + i < bits ? (value >> (int)(position + i) & T.One) != T.Zero : sign;
            result |= bit ? T.One << (int)i : T.Zero;
        }

        return result;
    }

    private static T Insert<T>(T field, T into, uint position, uint length) where T : unmanaged, IBinaryInteger<T>
    {
        (position, length) = (position & 255, length & 255);
        for (var i = 0u; i < length && position + i < Size<T>(); i++)
        {
            var at = T.One << (int)(position + i);
            into = (into & ~at) | ((field >> (int)i & T.One) != T.Zero ? at : T.Zero);
        }

        return into;
    }

    private static T Reverse<T>(T value) where T : unmanaged, IBinaryInteger<T>
    {
        var result = T.Zero;
        for (var i = 0; i < sizeof(T) * 8; i++)
        {
            result |= (value >> i & T.One) << ((sizeof(T) * 8) - 1 - i);
        }

        return result;
    }
}
