using System.Collections.Concurrent;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Which blocks of a launch accessed which bytes of global memory. Two blocks that access the same bytes, one of them writing, are an error: nobody
/// knows which comes first.
/// </summary>
internal sealed class GlobalAccesses
{
    private const int PageShift = 16;

    /// <summary>Pages that are kept from launch to launch: half a gigabyte.</summary>
    private const int MostPages = 2048;

    private static readonly ConcurrentDictionary<ulong, Page> Pages = [];
    private static long launches;

    private readonly long launch = Interlocked.Increment(ref launches);

    public GlobalAccesses()
    {
        if (Pages.Count > MostPages)
        {
            Pages.Clear();
        }
    }

    /// <summary>One block's view.</summary>
    public sealed class OfBlock
    {
        private GlobalAccesses? all;
        private int block;
        private ulong number;
        private Page? page;

        public void Begin(GlobalAccesses launch, int index) => (all, block, page) = (launch, index + 1, null);

        public void Read(ulong address, int bytes)
        {
            var (of, last) = (PageOf(address), (int)((address + (ulong)bytes - 1) & ((1 << PageShift) - 1)) / 2);
            for (var i = (int)(address & ((1 << PageShift) - 1)) / 2; i <= last; i++)
            {
                var (writer, reader) = (of.Writers[i], of.Readers[i]);
                if (writer != 0 && writer != block)
                {
                    throw new PtxException($"block {writer - 1} writes what block {block - 1} reads in the same launch");
                }

                of.Readers[i] = reader == 0 || reader == block ? block : int.MaxValue;
            }
        }

        public void Write(ulong address, int bytes)
        {
            var (of, last) = (PageOf(address), (int)((address + (ulong)bytes - 1) & ((1 << PageShift) - 1)) / 2);
            for (var i = (int)(address & ((1 << PageShift) - 1)) / 2; i <= last; i++)
            {
                var (writer, reader) = (of.Writers[i], of.Readers[i]);
                if ((writer != 0 && writer != block) || (reader != 0 && reader != block))
                {
                    throw new PtxException(
                        $"block {block - 1} writes what {(writer != 0 && writer != block ? $"block {writer - 1} writes" : "another block reads")} in the same launch");
                }

                of.Writers[i] = block;
            }
        }

        /// <summary>An access is aligned to its size, so it lies in one page.</summary>
        private Page PageOf(ulong address)
        {
            if (page is null || number != address >> PageShift)
            {
                number = address >> PageShift;
                page = Pages.GetOrAdd(number, static _ => new Page());
                page.Begin(all!.launch);
            }

            return page;
        }
    }

    /// <summary>For each two bytes the block that wrote and the one that read them, counted from 1; 0 for none, the largest number for several.</summary>
    private sealed class Page
    {
        private readonly Lock gate = new();
        private long launch;

        public int[] Writers { get; } = new int[(1 << PageShift) / 2];

        public int[] Readers { get; } = new int[(1 << PageShift) / 2];

        /// <summary>What an earlier launch did counts no more.</summary>
        public void Begin(long number)
        {
            lock (gate)
            {
                if (launch != number)
                {
                    launch = number;
                    Array.Clear(Writers);
                    Array.Clear(Readers);
                }
            }
        }
    }
}
