using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using StableDiffusion.Ilgpu.Devices;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Reading files once: what loading is held against.</summary>
internal static class FileReading
{
    private const int BufferBytes = 1 << 20;

    public const string ProbeName = "read-probe";

    /// <summary>
    /// Seconds to read all the files on one thread into new memory that holds them, as whoever wants to use them must: in a process of its
    /// own, because one that has held so much before may have the memory still. With large pages it gets the memory that weights get.
    /// </summary>
    /// <exception cref="StableDiffusionException">It failed.</exception>
    public static double SecondsIntoMemory(IEnumerable<string> files, bool largePages)
    {
        string[] options = largePages ? ["--large-pages"] : [];
        return double.Parse(
            ChildProcess.RunSelf([ProbeName, .. files, .. options]).Succeeded("the reading").Output, CultureInfo.InvariantCulture);
    }

    public static Command CreateProbeCommand()
    {
        var files = new Argument<string[]>("files");
        var largePages = new Option<bool>("--large-pages");
        var command = new Command(ProbeName, "Read files into memory and print the seconds.") { files, largePages };
        command.Hidden = true;
        command.SetAction(parsed => Console.Out.WriteLine(
            ReadIntoMemory(parsed.GetValue(files)!, parsed.GetValue(largePages)).ToString(CultureInfo.InvariantCulture)));
        return command;
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

    private static unsafe double ReadIntoMemory(string[] files, bool largePages)
    {
        var start = Stopwatch.GetTimestamp();
        foreach (var file in files)
        {
            using var handle = File.OpenHandle(file);
            var length = RandomAccess.GetLength(handle);

            // The process ends with it.
            var memory = (byte*)NativeMemory.Alloc((nuint)length);
            if (largePages)
            {
                LargePages.Prefer((nint)memory, length);
            }

            for (var done = 0L; done < length;)
            {
                done += RandomAccess.Read(handle, new Span<byte>(memory + done, (int)Math.Min(BufferBytes, length - done)), done);
            }
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
