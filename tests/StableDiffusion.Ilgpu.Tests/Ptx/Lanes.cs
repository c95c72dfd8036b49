using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Instructions that compute each lane's result from that lane's operands.</summary>
internal static unsafe class Lanes
{
    public static Execute Map<TA, TResult>(Slot target, Slot a, Func<TA, TResult> f)
        where TA : unmanaged
        where TResult : unmanaged => (warp, mask) =>
        {
            byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset;
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    Set(pointer, lane, f(Warp.Get<TA>(first, lane)));
                }
            }

            warp.Define(target, mask, warp.Defined[a.Index]);
        };

    public static Execute Map<TA, TB, TResult>(Slot target, Slot a, Slot b, Func<TA, TB, TResult> f)
        where TA : unmanaged
        where TB : unmanaged
        where TResult : unmanaged => (warp, mask) =>
        {
            byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset, second = warp.Registers + b.Offset;
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    Set(pointer, lane, f(Warp.Get<TA>(first, lane), Warp.Get<TB>(second, lane)));
                }
            }

            warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index]);
        };

    public static Execute Map<TA, TB, TC, TResult>(Slot target, Slot a, Slot b, Slot c, Func<TA, TB, TC, TResult> f)
        where TA : unmanaged
        where TB : unmanaged
        where TC : unmanaged
        where TResult : unmanaged => (warp, mask) =>
        {
            byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset;
            byte* second = warp.Registers + b.Offset, third = warp.Registers + c.Offset;
            for (var lane = 0; lane < Warp.Size; lane++)
            {
                if ((mask >> lane & 1) != 0)
                {
                    Set(pointer, lane, f(Warp.Get<TA>(first, lane), Warp.Get<TB>(second, lane), Warp.Get<TC>(third, lane)));
                }
            }

            warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index] & warp.Defined[c.Index]);
        };

    /// <summary>The same, eight lanes of 32 bits or four of 64 at a time: for what is executed most.</summary>
    public static Execute Map<T>(Slot target, Slot a, Func<Vector256<T>, Vector256<T>> f) where T : unmanaged => (warp, mask) =>
    {
        byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset;
        for (var at = 0; at < Warp.Size * sizeof(T); at += Vector256<byte>.Count)
        {
            Store(pointer + at, at / sizeof(T), mask, f(Vector256.Load((T*)(first + at))));
        }

        warp.Define(target, mask, warp.Defined[a.Index]);
    };

    public static Execute Map<T>(Slot target, Slot a, Slot b, Func<Vector256<T>, Vector256<T>, Vector256<T>> f) where T : unmanaged => (warp, mask) =>
    {
        byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset, second = warp.Registers + b.Offset;
        for (var at = 0; at < Warp.Size * sizeof(T); at += Vector256<byte>.Count)
        {
            Store(pointer + at, at / sizeof(T), mask, f(Vector256.Load((T*)(first + at)), Vector256.Load((T*)(second + at))));
        }

        warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index]);
    };

    public static Execute Map<T>(Slot target, Slot a, Slot b, Slot c, Func<Vector256<T>, Vector256<T>, Vector256<T>, Vector256<T>> f)
        where T : unmanaged => (warp, mask) =>
        {
            byte* pointer = warp.Registers + target.Offset, first = warp.Registers + a.Offset;
            byte* second = warp.Registers + b.Offset, third = warp.Registers + c.Offset;
            for (var at = 0; at < Warp.Size * sizeof(T); at += Vector256<byte>.Count)
            {
                var result = f(Vector256.Load((T*)(first + at)), Vector256.Load((T*)(second + at)), Vector256.Load((T*)(third + at)));
                Store(pointer + at, at / sizeof(T), mask, result);
            }

            warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index] & warp.Defined[c.Index]);
        };

    /// <summary>The lanes for which a comparison is true.</summary>
    public static uint Compare<T>(byte* a, byte* b, Func<Vector256<T>, Vector256<T>, Vector256<T>> compare) where T : unmanaged
    {
        var result = 0u;
        for (var at = 0; at < Warp.Size * sizeof(T); at += Vector256<byte>.Count)
        {
            result |= compare(Vector256.Load((T*)(a + at)), Vector256.Load((T*)(b + at))).ExtractMostSignificantBits() << (at / sizeof(T));
        }

        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<T>(byte* target, int firstLane, uint mask, Vector256<T> value) where T : unmanaged
    {
        if (mask == uint.MaxValue)
        {
            value.Store((T*)target);
            return;
        }

        for (var i = 0; i < Vector256<T>.Count; i++)
        {
            if ((mask >> (firstLane + i) & 1) != 0)
            {
                ((T*)target)[i] = value[i];
            }
        }
    }

    /// <summary>Takes a value's low part from four operands, for example the two values and two numbers of <c>bfi</c>.</summary>
    public static Execute Map<T>(Slot target, Slot a, Slot b, Slot c, Slot d, Func<T, T, uint, uint, T> f) where T : unmanaged => (warp, mask) =>
    {
        for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            Set(warp.Registers + target.Offset, lane,
                f(warp.Get<T>(a, lane), warp.Get<T>(b, lane), warp.Get<uint>(c, lane), warp.Get<uint>(d, lane)));
        }

        warp.Define(target, mask, warp.Defined[a.Index] & warp.Defined[b.Index] & warp.Defined[c.Index] & warp.Defined[d.Index]);
    };

    /// <summary>Writes a lane's register: values of less than 32 bits are extended to 32, by their sign if they have one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set<T>(byte* register, int lane, T value) where T : unmanaged
    {
        if (typeof(T) == typeof(sbyte))
        {
            Warp.Set(register, lane, (int)*(sbyte*)&value);
        }
        else if (typeof(T) == typeof(short))
        {
            Warp.Set(register, lane, (int)*(short*)&value);
        }
        else if (sizeof(T) == 1)
        {
            Warp.Set(register, lane, (uint)*(byte*)&value);
        }
        else if (sizeof(T) == 2)
        {
            Warp.Set(register, lane, (uint)*(ushort*)&value);
        }
        else
        {
            Warp.Set(register, lane, value);
        }
    }

    /// <summary>Bits of a type such as <c>f32</c>.</summary>
    public static int Bits(string type) => type switch
    {
        "pred" => 1,
        "f16x2" => 32,
        [_, .. var digits] when int.TryParse(digits, out var bits) => bits,
        _ => 0,
    };
}
