using System.Numerics;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary><c>setp</c>: comparisons, combined with another predicate where asked.</summary>
internal static unsafe class Predicates
{
    public static Execute? Decode(PtxDecoder d) => d.Name != "setp" ? null : d.Type switch
    {
        "s16" => Whole<short>(d),
        "u16" or "b16" => Whole<ushort>(d),
        "s32" => Whole<int>(d),
        "u32" or "b32" => Whole<uint>(d),
        "s64" => Whole<long>(d),
        "u64" or "b64" => Whole<ulong>(d),
        "f16" => Real<Half>(d),
        "f32" => Real<float>(d),
        "f64" => Real<double>(d),
        _ => null,
    };

    private static Execute Whole<T>(PtxDecoder d) where T : unmanaged, IBinaryInteger<T> => Compare<T>(d, d.Statement.Parts[1] switch
    {
        "eq" => static (a, b) => a == b,
        "ne" => static (a, b) => a != b,
        "lt" or "lo" => static (a, b) => a < b,
        "le" or "ls" => static (a, b) => a <= b,
        "gt" or "hi" => static (a, b) => a > b,
        "ge" or "hs" => static (a, b) => a >= b,
        var other => throw d.Fail($"the comparison .{other} is not interpreted"),
    }, sizeof(T) < sizeof(int) ? null : VectorOf<T>(d.Statement.Parts[1]));

    private static Func<Vector256<T>, Vector256<T>, Vector256<T>> VectorOf<T>(string comparison) => comparison switch
    {
        "eq" => static (a, b) => Vector256.Equals(a, b),
        "ne" => static (a, b) => ~Vector256.Equals(a, b),
        "lt" or "lo" => static (a, b) => Vector256.LessThan(a, b),
        "le" or "ls" => static (a, b) => Vector256.LessThanOrEqual(a, b),
        "gt" or "hi" => static (a, b) => Vector256.GreaterThan(a, b),
        _ => static (a, b) => Vector256.GreaterThanOrEqual(a, b),
    };

    /// <summary>With a <c>u</c>, comparisons are true where an operand is no number; without, false.</summary>
    private static Execute Real<T>(PtxDecoder d) where T : unmanaged, IFloatingPointIeee754<T> => Compare<T>(d, d.Statement.Parts[1] switch
    {
        "eq" => static (a, b) => a == b,
        "ne" => static (a, b) => a < b || a > b,
        "lt" => static (a, b) => a < b,
        "le" => static (a, b) => a <= b,
        "gt" => static (a, b) => a > b,
        "ge" => static (a, b) => a >= b,
        "equ" => static (a, b) => !(a < b || a > b),
        "neu" => static (a, b) => a != b,
        "ltu" => static (a, b) => !(a >= b),
        "leu" => static (a, b) => !(a > b),
        "gtu" => static (a, b) => !(a <= b),
        "geu" => static (a, b) => !(a < b),
        "num" => static (a, b) => !T.IsNaN(a) && !T.IsNaN(b),
        "nan" => static (a, b) => T.IsNaN(a) || T.IsNaN(b),
        var other => throw d.Fail($"the comparison .{other} is not interpreted"),
    });

    private static Execute Compare<T>(PtxDecoder d, Func<T, T, bool> compare, Func<Vector256<T>, Vector256<T>, Vector256<T>>? vector = null) where T : unmanaged
    {
        d.Allow(d.Statement.Parts[1], "and", "or", "xor");
        var combined = d.Has("and") || d.Has("or") || d.Has("xor");
        d.Expect(combined ? 4 : 3);
        var targets = d.Statement.Operands[0].Split('|', StringSplitOptions.TrimEntries).Select(t => d.Target(t, 1)).ToArray();
        var (a, b) = (d.Source(1, sizeof(T) * 8), d.Source(2, sizeof(T) * 8));
        var negated = combined && d.Statement.Operands[3].StartsWith('!');
        var other = combined ? d.Predicate(d.Statement.Operands[3].TrimStart('!')) : default;
        Func<uint, uint, uint> combine = d.Has("and") ? static (x, y) => x & y : d.Has("or") ? static (x, y) => x | y : static (x, y) => x ^ y;
        return (warp, mask) =>
        {
            var result = 0u;
            byte* first = warp.Registers + a.Offset, second = warp.Registers + b.Offset;
            if (vector is not null)
            {
                result = Lanes.Compare(first, second, vector);
            }
            else
            {
                for (var lane = 0; lane < Warp.Size; lane++)
                {
                    if ((mask >> lane & 1) != 0 && compare(Warp.Get<T>(first, lane), Warp.Get<T>(second, lane)))
                    {
                        result |= 1u << lane;
                    }
                }
            }

            var (opposite, defined) = (~result, warp.Defined[a.Index] & warp.Defined[b.Index]);
            if (combined)
            {
                var value = negated ? ~warp.Predicate(other) : warp.Predicate(other);
                (result, opposite) = (combine(result, value), combine(opposite, value));
                defined &= warp.Defined[other.Index];
            }

            Set(warp, targets[0], mask, result, defined);
            if (targets.Length > 1)
            {
                Set(warp, targets[1], mask, opposite, defined);
            }
        };
    }

    private static void Set(Warp warp, Slot target, uint mask, uint value, uint defined)
    {
        ref var predicate = ref warp.Predicate(target);
        predicate = (predicate & ~mask) | (value & mask);
        warp.Define(target, mask, defined);
    }
}
