using System.Numerics;
using System.Runtime.Intrinsics;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>When the data of <c>cp.async</c> are in shared memory: a device may do either, or anything between.</summary>
internal enum CopyLanding
{
    /// <summary>As soon as they are asked for.</summary>
    Early,

    /// <summary>Only when they are waited for; until then the target is spoilt.</summary>
    Late,
}

/// <summary>A warp's copies from global to shared memory that were not waited for.</summary>
internal sealed unsafe class CopyQueue(SharedMemory shared, int warp)
{
    private readonly int[] groups = new int[Warp.Size];
    private readonly List<Pending> pending = [];

    public void Clear()
    {
        Array.Clear(groups);
        pending.Clear();
    }

    public void Add(int lane, ulong target, int bytes, Vector128<byte> data, CopyLanding landing)
    {
        var at = shared.Write(target, bytes, bytes, warp);
        if (landing == CopyLanding.Early)
        {
            Write(at, bytes, data);
        }
        else
        {
            SharedMemory.Spoil(at, bytes);
        }

        pending.Add(new Pending(lane, groups[lane], target, bytes, data));
    }

    /// <summary>Ends a group of copies.</summary>
    public void Commit(uint mask)
    {
        for (; mask != 0; mask &= mask - 1)
        {
            groups[BitOperations.TrailingZeroCount(mask)]++;
        }
    }

    /// <summary>Lands all but the last groups; a negative number, those without group too.</summary>
    public void Wait(uint mask, int groupsLeft)
    {
        var kept = 0;
        for (var i = 0; i < pending.Count; i++)
        {
            var copy = pending[i];
            if ((mask >> copy.Lane & 1) != 0 && (groupsLeft < 0 || copy.Group < groups[copy.Lane] - groupsLeft))
            {
                // Written again, so that another warp needs a barrier after this wait.
                Write(shared.Write(copy.Target, copy.Bytes, copy.Bytes, warp), copy.Bytes, copy.Data);
            }
            else
            {
                pending[kept++] = copy;
            }
        }

        pending.RemoveRange(kept, pending.Count - kept);
    }

    private static void Write(byte* target, int bytes, Vector128<byte> data) => new ReadOnlySpan<byte>(&data, bytes).CopyTo(new Span<byte>(target, bytes));

    private readonly record struct Pending(int Lane, int Group, ulong Target, int Bytes, Vector128<byte> Data);
}
