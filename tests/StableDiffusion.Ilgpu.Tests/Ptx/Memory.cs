using System.Numerics;
using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Loads and stores.</summary>
internal static unsafe class Memory
{
    private static readonly string[] Spaces = ["global", "shared", "param"];

    public static Execute? Decode(PtxDecoder d)
    {
        if (d.Name is not ("ld" or "st"))
        {
            return null;
        }

        d.Allow("global", "shared", "shared::cta", "param", "nc", "ca", "cg", "cs", "lu", "wb", "wt", "volatile", "v2", "v4",
            "L1::evict_first", "L1::evict_last", "L1::no_allocate", "L1::evict_normal", "L2::64B", "L2::128B", "L2::256B");
        d.Expect(2);
        var space = Spaces.FirstOrDefault(d.Has) ?? (d.Has("shared::cta") ? "shared" : throw d.Fail("the generic address space is not interpreted"));
        var (bytes, signed, count) = (Lanes.Bits(d.Type) / 8, d.Type[0] == 's', d.Has("v4") ? 4 : d.Has("v2") ? 2 : 1);
        if (bytes is 0 || bytes * count > 16)
        {
            throw d.Fail("this type is not interpreted");
        }

        var (values, address) = d.Name == "ld" ? (0, d.Address(1)) : (1, d.Address(0));
        var names = d.Vector(values);
        if (names.Length != count)
        {
            throw d.Fail($"{names.Length} registers, {count} expected");
        }

        if (d.Name == "ld")
        {
            var targets = names.Select(n => d.WideTarget(n, bytes * 8)).ToArray();
            return space switch
            {
                "param" => LoadParameter(targets, address, bytes, signed),
                "shared" => LoadShared(targets, address, bytes, signed),
                _ => LoadGlobal(targets, address, bytes, signed),
            };
        }

        var sources = names.Select(n => d.Source(n, bytes * 8, orWider: true)).ToArray();
        return space switch
        {
            "param" => throw d.Fail("parameters cannot be written"),
            "shared" => StoreShared(sources, address, bytes),
            _ => StoreGlobal(sources, address, bytes),
        };
    }

    /// <summary>A lane's address.</summary>
    public static ulong Address(Warp warp, (Slot Base, long Offset) address, int lane) =>
        (address.Base.IsWide ? warp.Get<ulong>(address.Base, lane) : warp.Get<uint>(address.Base, lane)) + (ulong)address.Offset;

    /// <summary>A lane's address in shared memory, of which 32 bits count.</summary>
    public static ulong SharedAddress(Warp warp, (Slot Base, long Offset) address, int lane) => (uint)Address(warp, address, lane);

    private static Execute LoadParameter(Slot[] targets, (Slot Base, long Offset) address, int bytes, bool signed) => (warp, mask) =>
    {
        for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            var at = Address(warp, address, lane);
            for (var i = 0; i < targets.Length; i++)
            {
                var offset = at + (ulong)(i * bytes);
                if (offset + (ulong)bytes > (ulong)warp.Block.Parameters.Length)
                {
                    throw new PtxException($"byte {offset} of {warp.Block.Parameters.Length} bytes of parameters");
                }

                fixed (byte* parameters = warp.Block.Parameters)
                {
                    Put(warp, targets[i], lane, parameters + offset, bytes, signed);
                }
            }
        }

        Define(warp, targets, mask);
    };

    private static Execute LoadGlobal(Slot[] targets, (Slot Base, long Offset) address, int bytes, bool signed)
    {
        var all = bytes * targets.Length;
        return (warp, mask) =>
        {
            warp.Require(address.Base, mask, "the address");
            var isChecked = IsOneBuffer(warp, address, mask, all);
            for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                var lane = BitOperations.TrailingZeroCount(lanes);
                var at = isChecked ? (byte*)Address(warp, address, lane) : warp.Block.Global.At(Address(warp, address, lane), all, all);
                warp.Block.Accesses.Read((ulong)at, all);
                for (var i = 0; i < targets.Length; i++)
                {
                    Put(warp, targets[i], lane, at + (i * bytes), bytes, signed);
                }
            }

            Define(warp, targets, mask);
        };
    }

    private static Execute LoadShared(Slot[] targets, (Slot Base, long Offset) address, int bytes, bool signed)
    {
        var all = bytes * targets.Length;
        return (warp, mask) =>
        {
            warp.Require(address.Base, mask, "the address");
            Span<ulong> addresses = stackalloc ulong[Warp.Size];
            var last = ulong.MaxValue;
            byte* at = null;
            for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                var lane = BitOperations.TrailingZeroCount(lanes);
                addresses[lane] = SharedAddress(warp, address, lane);
                if (addresses[lane] != last)
                {
                    last = addresses[lane];
                    at = warp.Block.Shared.Read(last, all, all, warp.Number);
                }

                for (var i = 0; i < targets.Length; i++)
                {
                    Put(warp, targets[i], lane, at + (i * bytes), bytes, signed);
                }
            }

            warp.Block.Shared.CountBanks(SharedAccess.Load, addresses, mask, all);
            Define(warp, targets, mask);
        };
    }

    private static Execute StoreGlobal(Slot[] sources, (Slot Base, long Offset) address, int bytes)
    {
        var all = bytes * sources.Length;
        return (warp, mask) =>
        {
            RequireStored(warp, sources, address, mask);
            var isChecked = IsOneBuffer(warp, address, mask, all);
            for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                var lane = BitOperations.TrailingZeroCount(lanes);
                var at = isChecked ? (byte*)Address(warp, address, lane) : warp.Block.Global.At(Address(warp, address, lane), all, all);
                warp.Block.Accesses.Write((ulong)at, all);
                for (var i = 0; i < sources.Length; i++)
                {
                    Take(warp, sources[i], lane, at + (i * bytes), bytes);
                }
            }
        };
    }

    private static Execute StoreShared(Slot[] sources, (Slot Base, long Offset) address, int bytes)
    {
        var all = bytes * sources.Length;
        return (warp, mask) =>
        {
            RequireStored(warp, sources, address, mask);
            Span<ulong> addresses = stackalloc ulong[Warp.Size];
            for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
            {
                var lane = BitOperations.TrailingZeroCount(lanes);
                addresses[lane] = SharedAddress(warp, address, lane);
                var at = warp.Block.Shared.Write(addresses[lane], all, all, warp.Number);
                for (var i = 0; i < sources.Length; i++)
                {
                    Take(warp, sources[i], lane, at + (i * bytes), bytes);
                }
            }

            warp.Block.Shared.CountBanks(SharedAccess.Store, addresses, mask, all);
        };
    }

    /// <summary>Whether all lanes' bytes lie in one buffer, each aligned to its size.</summary>
    private static bool IsOneBuffer(Warp warp, (Slot Base, long Offset) address, uint mask, int bytes)
    {
        var (least, most, bits) = (ulong.MaxValue, 0UL, 0UL);
        for (var lanes = mask; lanes != 0; lanes &= lanes - 1)
        {
            var at = Address(warp, address, BitOperations.TrailingZeroCount(lanes));
            (least, most, bits) = (Math.Min(least, at), Math.Max(most, at), bits | at);
        }

        return (bits & (ulong)(bytes - 1)) == 0 && warp.Block.Global.Holds(least, most + (ulong)bytes);
    }

    private static void RequireStored(Warp warp, Slot[] sources, (Slot Base, long Offset) address, uint mask)
    {
        warp.Require(address.Base, mask, "the address");
        foreach (var source in sources)
        {
            warp.Require(source, mask, "the stored value");
        }
    }

    private static void Define(Warp warp, Slot[] targets, uint mask)
    {
        foreach (var target in targets)
        {
            warp.Define(target, mask, mask);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(Warp warp, Slot target, int lane, byte* source, int bytes, bool signed)
    {
        var register = warp.Registers + target.Offset;
        switch (bytes)
        {
            case 8:
                Warp.Set(register, lane, *(ulong*)source);
                break;
            case 4:
                Warp.Set(register, lane, *(uint*)source);
                break;
            case 2:
                Warp.Set(register, lane, signed ? (uint)*(short*)source : *(ushort*)source);
                break;
            default:
                Warp.Set(register, lane, signed ? (uint)*(sbyte*)source : *source);
                break;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Take(Warp warp, Slot source, int lane, byte* target, int bytes)
    {
        switch (bytes)
        {
            case 8:
                *(ulong*)target = warp.Get<ulong>(source, lane);
                break;
            case 4:
                *(uint*)target = warp.Get<uint>(source, lane);
                break;
            case 2:
                *(ushort*)target = warp.Get<ushort>(source, lane);
                break;
            default:
                *target = warp.Get<byte>(source, lane);
                break;
        }
    }
}
