using System.Diagnostics;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Reading files once: what loading is held against.</summary>
internal static class FileReading
{
    private const int BufferBytes = 1 << 20, BlockBytes = 64 << 20;

    /// <summary>Seconds to read all the files into new memory that holds them, as whoever wants to use them must.</summary>
    public static double SecondsIntoMemory(IReadOnlyList<string> files)
    {
        var blocks = new List<byte[]>();
        var start = Stopwatch.GetTimestamp();
        foreach (var file in files)
        {
            using var handle = File.OpenHandle(file);
            var length = RandomAccess.GetLength(handle);
            for (var offset = 0L; offset < length; offset += BlockBytes)
            {
                var block = GC.AllocateUninitializedArray<byte>((int)Math.Min(BlockBytes, length - offset));
                blocks.Add(block);
                for (var done = 0; done < block.Length;)
                {
                    done += RandomAccess.Read(handle, block.AsSpan(done, Math.Min(BufferBytes, block.Length - done)), offset + done);
                }
            }
        }

        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        blocks.Clear();
        GC.Collect();
        return seconds;
    }

    /// <summary>Seconds to read all the files, each thread into one buffer that it uses again and again.</summary>
    public static double Seconds(IReadOnlyList<string> files, int threads)
    {
        var parts = new Queue<(string File, long Offset)>(
            files.SelectMany(f => Enumerable.Range(0, (int)((new FileInfo(f).Length + BufferBytes - 1) / BufferBytes)).Select(i => (f, (long)i * BufferBytes))));
        var handles = files.ToDictionary(f => f, f => File.OpenHandle(f));
        var start = Stopwatch.GetTimestamp();
        Thread[] readers = [.. Enumerable.Range(0, threads).Select(_ => new Thread(Read))];
        foreach (var reader in readers)
        {
            reader.Start();
        }

        foreach (var reader in readers)
        {
            reader.Join();
        }

        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        foreach (var handle in handles.Values)
        {
            handle.Dispose();
        }

        return seconds;

        void Read()
        {
            var buffer = new byte[BufferBytes];
            while (true)
            {
                (string File, long Offset) part;
                lock (parts)
                {
                    if (!parts.TryDequeue(out part))
                    {
                        return;
                    }
                }

                RandomAccess.Read(handles[part.File], buffer, part.Offset);
            }
        }
    }
}
